import { setTimeout as sleep } from 'node:timers/promises'
import { ruleOf } from './lies.ts'
import type { Pond } from './pond.ts'
import type { Random } from './random.ts'
import { type Fault, isOfUpstreams, type Lie } from './schedule.ts'
import type { Volume } from './volume.ts'
import type { World } from './world.ts'

/** What faults happen to. */
export type Scene = {
  readonly world: World
  readonly pond: Pond
  readonly volume: Volume
  /** Names of blobs with a bit that was flipped on the disk. */
  readonly damaged: Set<string>
  readonly signal: AbortSignal
  readonly random: Random
  readonly note: (event: object) => void
}

const HOUR_MS = 3_600_000
const CLOCK_OFFSETS_MS = [0, HOUR_MS, -HOUR_MS, 48 * HOUR_MS, -48 * HOUR_MS, 30 * 24 * HOUR_MS]
const LENGTH_LIES: readonly Lie[] = [
  'shorter',
  'longer',
  'chunked',
  'without length',
  'http 1.0 reset',
  'range of another total',
  'range without total',
  'gzip',
  'page',
  'to the thief',
]
/** Some are longer than a verdict holds. */
const WITHDRAWN_FOR = 30
/** What is left of a full disk: nothing, or enough for the books alone. */
const LEFT_BYTES_MAX = 300_000

/** Does what was drawn, and undoes it when its time is over. */
export async function happen(fault: Fault, scene: Scene): Promise<void> {
  const { world, pond, volume } = scene
  const { kind, host, lastsMs, part, isEven } = fault
  const rest = () => sleep(lastsMs, undefined, { signal: scene.signal }).catch(() => undefined) // over: undone at once
  const relays = world.relaysOf(host)
  const relay = relays[Math.floor(part * relays.length)]
  if (isOfUpstreams(kind)) world.noteLie('fault', host)
  switch (kind) {
    case 'lie':
      return tell(fault, scene)
    case 'relay cuts all':
      return relay?.cutAll(isEven)
    case 'relay cuts next':
      return relay?.cutNextAfter(Math.floor(fault.otherPart ** 3 * 4_000_000))
    case 'relay stalls':
      if (relay) relay.isStalled = true
      await rest()
      if (relay) relay.isStalled = false
      return world.noteLie('fault', host)
    case 'relay refuses':
      for (const each of relays) each.isRefusing = true
      await rest()
      for (const each of relays) each.isRefusing = false
      return world.noteLie('fault', host)
    case 'outage':
      return await outage(fault, world, rest)
    case 'tokens expire':
      return world.host('token.test').fake.tokens.revoke()
    case 'tag moves':
    case 'tag goes':
      return await moveTag(fault, world, rest)
    case 'disk fills':
      await volume.fill(isEven ? 0 : Math.floor(part * LEFT_BYTES_MAX))
      await rest()
      return await volume.empty()
    case 'bit rots': {
      const name = await volume.flip(part, fault.otherPart)
      if (name !== undefined) scene.damaged.add(name)
      return
    }
    case 'right withdrawn':
      world.setRight(false)
      await sleep(lastsMs * WITHDRAWN_FOR, undefined, { signal: scene.signal }).catch(() => undefined) // as `rest`
      return world.setRight(true)
    case 'clock steps':
      return await pond.stepClock(CLOCK_OFFSETS_MS[Math.floor(part * CLOCK_OFFSETS_MS.length)] ?? 0)
    case 'suspended':
      return await pond.suspend(lastsMs)
    case 'SIGKILL':
      return await pond.restart(['SIGKILL'])
    case 'SIGTERM':
      return await pond.restart(['SIGTERM'])
    case 'SIGTERM twice':
      return await pond.restart(['SIGTERM', 'SIGTERM'])
    default:
      return kind satisfies never
  }
}

function tell(fault: Fault, { world, note, random }: Scene): void {
  const { host } = fault
  const rule = ruleOf(fault, {
    thief: world.thief.origin,
    sizeOf: (digest) => world.catalogue.bytesOf.get(digest as never)?.length ?? Number.NaN,
    nowMs: () => performance.now(),
    random,
    onLie: (lie, seen) => {
      world.lieCounts.set(lie, (world.lieCounts.get(lie) ?? 0) + 1)
      note({ lie, to: seen.summary })
      world.noteLie('fault', host)
      if (lie === 'flip') world.noteLie('flip', seen.reference)
      if (lie === 'other digest') world.noteLie('digest', host)
      if (LENGTH_LIES.includes(lie)) world.noteLie('length', seen.reference)
    },
  })
  world.host(host).fake.behave(rule)
  if (host === 'stored.test') world.liarFor(host, true).behave(rule)
}

async function outage({ host }: Fault, world: World, rest: () => Promise<void>): Promise<void> {
  const { fake } = world.host(host)
  await fake.stop()
  await rest()
  await fake.start().catch(() => undefined) // it was healed meanwhile
  world.noteLie('fault', host)
}

/** The moving tag of a repository of the host; one that goes comes again. */
async function moveTag(fault: Fault, world: World, rest: () => Promise<void>): Promise<void> {
  const { kind, host, part, otherPart } = fault
  const ofHost = world.catalogue.repositories.filter((each) => each.host === host)
  const repository = ofHost[Math.floor(part * ofHost.length)]
  const image = repository?.images[Math.floor(otherPart * repository.images.length)]
  if (!repository || !image) return
  if (kind === 'tag goes') {
    world.pointTag(host, repository.path, undefined)
    await rest()
  }
  world.pointTag(host, repository.path, image.digest)
}
