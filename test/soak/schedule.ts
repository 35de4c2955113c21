import type { Random } from './random.ts'

const HOSTS = ['plain.test', 'token.test', 'stored.test'] as const

/** What upstream does to the next few requests, how often. */
const LIES = {
  cut: 10,
  reset: 6,
  stall: 3,
  drip: 2,
  flip: 10,
  surplus: 3,
  shorter: 2,
  longer: 3,
  page: 3,
  'other digest': 3,
  '429': 4,
  '5xx': 6,
  hang: 2,
  refuse: 4,
  'to the thief': 3,
  'realm of the thief': 2,
  chunked: 2,
  'without length': 2,
  'http 1.0 reset': 2,
  'range ignored': 3,
  'range shifted': 2,
  'range of another total': 2,
  'range without total': 2,
  multipart: 1,
  unsatisfiable: 1,
  gzip: 2,
  expired: 3,
} as const
export type Lie = keyof typeof LIES

/** What happens besides. */
const EVENTS = {
  lie: 70,
  'relay cuts all': 5,
  'relay cuts next': 8,
  'relay stalls': 3,
  'relay refuses': 3,
  outage: 2,
  'tokens expire': 4,
  'tag moves': 12,
  'tag goes': 2,
  'disk fills': 3,
  'clock steps': 3,
  suspended: 1,
  'bit rots': 5,
  'right withdrawn': 1,
} as const

const PROCESS_EVENTS = { SIGKILL: 6, SIGTERM: 3, 'SIGTERM twice': 1 } as const

export type Kind = keyof typeof EVENTS | keyof typeof PROCESS_EVENTS

/** All that is drawn of a fault. Parts are from 0 to 1, of whatever it is then applied to. */
export type Fault = {
  readonly atMs: number
  readonly kind: Kind
  readonly lie: Lie
  readonly host: (typeof HOSTS)[number]
  readonly times: number
  readonly lastsMs: number
  readonly part: number
  readonly otherPart: number
  readonly isEven: boolean
}

const EACH_MS = 400
const PROCESS_EACH_MS = 11_000
/** What ends the process comes within this part of the time: its last life must be long enough to be measured. */
const PROCESS_PART = 0.6
/** In the last moments nothing new goes wrong. */
const CALM_MS = 1_500

const OF_UPSTREAMS: ReadonlySet<Kind> = new Set<Kind>([
  'lie',
  ...(['relay cuts all', 'relay cuts next', 'relay stalls', 'relay refuses', 'outage', 'tokens expire'] as const),
])

export const isOfUpstreams = (kind: Kind): boolean => OF_UPSTREAMS.has(kind)

/**
 * What goes wrong in `lengthMs`, in order. The same seed and length give the same.
 *
 * @param isWell upstreams do nothing wrong: disk, clock, process and clients alone
 */
export function scheduleOf(random: Random, lengthMs: number, isWell = false): readonly Fault[] {
  const faults: Fault[] = []
  const step = (meanMs: number) => Math.round(meanMs * (0.3 + 1.4 * random.next()))
  const eachMs = isWell ? EACH_MS / 3 : EACH_MS // of which most is not to happen then
  for (let atMs = 2_000; atMs < lengthMs - CALM_MS; atMs += step(eachMs)) {
    faults.push(drawn(random, atMs, random.weighted(EVENTS)))
  }
  for (let atMs = step(PROCESS_EACH_MS); atMs < lengthMs * PROCESS_PART; atMs += step(PROCESS_EACH_MS)) {
    faults.push(drawn(random, atMs, random.weighted(PROCESS_EVENTS)))
  }
  const kept = isWell ? faults.filter(({ kind }) => !OF_UPSTREAMS.has(kind)) : faults
  return kept.sort((a, b) => a.atMs - b.atMs)
}

const drawn = (random: Random, atMs: number, kind: Kind): Fault => ({
  atMs,
  kind,
  lie: random.weighted(LIES),
  host: random.pick(HOSTS),
  times: random.between(1, 4),
  lastsMs: random.between(800, 3_000),
  part: random.next(),
  otherPart: random.next(),
  isEven: random.chance(0.5),
})
