import { Agent } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Digest, digestOf } from '../../src/oci/digest.ts'
import { EVIL, type Image, MINE, MOVING_TAG, type Repository } from './catalogue.ts'
import { fetchFrom, type Got, type Reading } from './fetch.ts'
import { HOSTILE_PATHS } from './hostile.ts'
import type { Judge } from './judge.ts'
import type { Random } from './random.ts'
import type { World } from './world.ts'

/** What clients do, how often. */
const ACTS = {
  pull: 30,
  'pull by digest': 12,
  'parallel ranges': 10,
  'open range, read in part': 8,
  'leave midway': 8,
  'stand still': 4,
  'read slowly': 4,
  heads: 8,
  lists: 5,
  conditional: 4,
  'several ranges': 3,
  'hostile path': 6,
  'hostile tenant': 10,
  'private, as alice': 8,
  'private, as another': 8,
  write: 2,
} as const

const KIB = 1024
const DOWN_LOOK_MS = 50

/** What clients need. */
export type Surroundings = {
  readonly world: World
  readonly judge: Judge
  /** Where Millpond listens; undefined while it is down. */
  readonly origin: () => string | undefined
  readonly log: (event: object) => void
  readonly signal: AbortSignal
}

type Extra = {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly reading?: Reading
}

/** One client: draws an act, does it, draws the next, until it is told to stop. */
export class Client {
  readonly #name: string
  readonly #random: Random
  readonly #around: Surroundings
  #agent = new Agent({ keepAlive: true, maxSockets: 3 })

  constructor(name: string, random: Random, around: Surroundings) {
    this.#name = name
    this.#random = random
    this.#around = around
  }

  /** Never rejects. */
  async run(): Promise<void> {
    const { signal, judge, log } = this.#around
    while (!signal.aborted) {
      const act = this.#random.weighted(ACTS)
      const beganMs = performance.now()
      try {
        await this.#do(act)
      } catch (error) {
        if (!signal.aborted) judge.accuse('crashes', `the soak itself, in "${act}": ${error}`)
      }
      judge.count(`act: ${act}`)
      log({ client: this.#name, act, ms: Math.round(performance.now() - beganMs) })
      // containers/image and dockerd keep theirs, crane does not
      if (this.#random.chance(0.5)) this.#newAgent()
      await sleep(this.#random.between(0, 120), undefined, { signal }).catch(() => undefined) // it is over
    }
    this.#agent.destroy()
  }

  #newAgent(): void {
    this.#agent.destroy()
    this.#agent = new Agent({ keepAlive: true, maxSockets: 3 })
  }

  async #do(act: keyof typeof ACTS): Promise<void> {
    const repository = this.#random.pick(this.#around.world.catalogue.repositories)
    const image = this.#random.pick(repository.images)
    const layer = this.#random.pick([...image.layers, image.config])
    const size = layer.size
    switch (act) {
      case 'pull':
        return await this.#pull(repository)
      case 'pull by digest':
        return await this.#pullImage(repository, image)
      case 'parallel ranges':
        return await this.#parallelRanges(repository, layer.digest, size)
      case 'open range, read in part': {
        const headers = { range: `bytes=${this.#random.between(0, Math.max(0, size - 1))}-` }
        return await this.#blob(repository, layer.digest, { headers, reading: { leaveAfter: 64 * KIB } })
      }
      case 'leave midway':
        return await this.#blob(repository, layer.digest, { reading: { leaveAfter: this.#random.between(0, size) } })
      case 'stand still': {
        const reading = { pauseAfter: this.#random.between(0, size), pauseMs: this.#random.between(500, 4_000) }
        return await this.#blob(repository, layer.digest, { reading })
      }
      case 'read slowly': {
        const bytesPerSecond = Math.max(64 * KIB, Math.round(size / 3))
        return await this.#blob(repository, layer.digest, { reading: { bytesPerSecond } })
      }
      case 'heads':
        return await this.#heads(repository, image)
      case 'lists':
        return await this.#lists(repository, image)
      case 'conditional':
        return await this.#blob(repository, layer.digest, { headers: { 'if-none-match': `"${layer.digest}"` } })
      case 'several ranges':
        return await this.#severalRanges(repository, layer.digest)
      case 'hostile path':
        return await this.#hostilePath()
      case 'hostile tenant':
        return await this.#hostileTenant()
      case 'private, as alice':
        return await this.#asAlice()
      case 'private, as another':
        return await this.#asAnother()
      case 'write': {
        const got = await this.#ask(`${this.#prefix(repository)}/blobs/uploads/`, { method: 'POST' })
        return this.#around.judge.answered(got, [405])
      }
      default:
        return act satisfies never
    }
  }

  /** As the engines do: HEAD by tag, manifest, an index's child, config and layers three at a time. */
  async #pull(repository: Repository): Promise<void> {
    const { judge, world } = this.#around
    const versions = repository.images.map((_, version) => `v${version}`)
    const tag = this.#random.chance(0.5) ? MOVING_TAG : this.#random.pick(['multi', ...versions])
    const asked = { host: repository.host, path: repository.path, tag }
    const path = `${this.#prefix(repository)}/manifests`
    let digest: Digest | undefined
    if (this.#random.chance(0.7)) digest = judge.tag(await this.#ask(`${path}/${tag}`, { method: 'HEAD' }), asked)
    const byDigest = digest !== undefined && world.catalogue.bytesOf.has(digest)
    if (digest && byDigest) judge.content(await this.#ask(`${path}/${digest}`), repository.host, digest)
    else digest = judge.tag(await this.#ask(`${path}/${tag}`), asked)
    const wanted = digest === repository.index ? this.#random.pick(repository.images.slice(0, 2)).digest : digest
    const image = repository.images.find((each) => each.digest === wanted)
    if (image) await this.#pullImage(repository, image)
  }

  async #pullImage(repository: Repository, image: Image): Promise<void> {
    const { judge } = this.#around
    const got = await this.#ask(`${this.#prefix(repository)}/manifests/${image.digest}`)
    judge.content(got, repository.host, image.digest)
    await Promise.all([image.config, ...image.layers].map(({ digest }) => this.#blob(repository, digest)))
  }

  async #parallelRanges(repository: Repository, digest: Digest, size: number): Promise<void> {
    const count = this.#random.between(2, 5)
    const step = Math.max(1, Math.ceil(size / count))
    const starts = Array.from({ length: count }, (_, at) => at * step).filter((start) => start < size)
    const ranges = starts.map((start) => `bytes=${start}-${Math.min(start + step, size) - 1}`)
    await Promise.all(ranges.map((range) => this.#blob(repository, digest, { headers: { range } })))
  }

  async #severalRanges(repository: Repository, digest: Digest): Promise<void> {
    const got = await this.#ask(`${this.#prefix(repository)}/blobs/${digest}`, { headers: { range: 'bytes=0-0,-1' } })
    this.#around.judge.answered(got, [200, 206, 400, 403, 416])
  }

  async #heads(repository: Repository, image: Image): Promise<void> {
    const { judge } = this.#around
    for (const { digest } of image.layers) await this.#blob(repository, digest, { method: 'HEAD' })
    const got = await this.#ask(`${this.#prefix(repository)}/manifests/${image.digest}`, { method: 'HEAD' })
    judge.content(got, repository.host, image.digest)
  }

  async #lists(repository: Repository, image: Image): Promise<void> {
    const { judge } = this.#around
    judge.answered(await this.#ask(`${this.#prefix(repository)}/tags/list?n=2`), [200, 403, 404])
    judge.answered(await this.#ask(`${this.#prefix(repository)}/referrers/${image.digest}`), [200, 403, 404])
  }

  async #hostilePath(): Promise<void> {
    const { world, judge } = this.#around
    const { path, headers = {} } = this.#random.pick(HOSTILE_PATHS(world.stranger.origin.slice('http://'.length)))
    const got = await this.#ask(path, { headers, method: this.#random.pick(['GET', 'HEAD']) })
    judge.answered(got, [200, 400, 401, 403, 404, 405])
  }

  /** In a repository of his own he names what another's account got; he must not get it (faults 75, 76). */
  async #hostileTenant(): Promise<void> {
    const { world, judge } = this.#around
    const digest = this.#random.pick(world.catalogue.coveted)
    if (this.#random.chance(0.3)) await this.#ask(`/v2/${EVIL.path}/manifests/${MOVING_TAG}`)
    const part = this.#random.pick(['blobs', 'blobs', 'manifests'])
    const headers: Record<string, string> = this.#random.chance(0.3) ? { range: 'bytes=0-9' } : {}
    const method = this.#random.pick(['GET', 'HEAD'])
    const got = await this.#ask(`/v2/${EVIL.path}/${part}/${digest}`, { method, headers })
    judge.forbidden(got, `${EVIL.path} names what ${digestOf(Buffer.from(EVIL.path)) === digest ? '' : 'others'} hold`)
  }

  /** What is hers, as long as it is. */
  async #asAlice(): Promise<void> {
    const { judge, world } = this.#around
    const { catalogue } = world
    const { mine } = catalogue
    const authorization = world.canaries.headerOf('alice')
    const image = this.#random.pick(mine.images)
    const prefix = `/v2/${mine.host}/${mine.path}`
    const got = await this.#ask(`${prefix}/manifests/${image.digest}`, { headers: { authorization } })
    judge.owned(got, mine.host, image.digest)
    const asks = [image.config, ...image.layers].map(async ({ digest }) => {
      const from = this.#random.between(0, Math.max(0, catalogue.sizeOf(digest) - 1))
      const range: Record<string, string> = this.#random.chance(0.3) ? { range: `bytes=${from}-` } : {}
      const answer = await this.#ask(`${prefix}/blobs/${digest}`, { headers: { ...range, authorization } })
      judge.owned(answer, mine.host, digest)
    })
    await Promise.all(asks)
  }

  /** Bob's name is good at that upstream, for other things; a wrong password is nobody's. */
  async #asAnother(): Promise<void> {
    const { judge, world } = this.#around
    const { host, path, images } = world.catalogue.mine
    const { digest, config, layers } = this.#random.pick(images)
    const wanted = this.#random.pick([
      ...['manifests/latest', 'manifests/v1', `manifests/${digest}`, 'tags/list', `referrers/${digest}`],
      ...[config, ...layers].map((each) => `blobs/${each.digest}`),
    ])
    const wrong = `Basic ${Buffer.from('alice:guessed').toString('base64')}`
    const authorization = this.#random.pick([world.canaries.headerOf('bob'), wrong, ''])
    const range: Record<string, string> = this.#random.chance(0.3) ? { range: 'bytes=0-9' } : {}
    const headers = { ...range, ...(authorization !== '' && { authorization }) }
    const method = this.#random.pick(['GET', 'HEAD'])
    const got = await this.#ask(`/v2/${host}/${path}/${wanted}`, { method, headers })
    judge.forbidden(got, authorization === '' ? 'to nobody' : 'to another')
  }

  async #blob(repository: Repository, digest: Digest, extra: Extra = {}): Promise<void> {
    const got = await this.#ask(`${this.#prefix(repository)}/blobs/${digest}`, extra)
    this.#around.judge.content(got, repository.host, digest)
  }

  /** The default by its path alone; others by prefix, or, as containerd does, by `ns` (see `#ask`). */
  #prefix({ host, path }: Repository): string {
    return host === EVIL.host && this.#random.chance(0.7) ? `/v2/${path}` : `/v2/${host}/${path}`
  }

  async #ask(path: string, extra: Extra = {}): Promise<Got> {
    const { world, signal, log } = this.#around
    const hidden = { authorization: world.canaries.clientHeader, cookie: 'a=b', 'x-soak': this.#name }
    // what is private is asked for with the caller's own, whatever that is
    const isHidden = this.#random.chance(0.3) && !path.includes(MINE.path)
    const headers: Record<string, string> = { ...(isHidden ? hidden : {}), ...extra.headers }
    const origin = await this.#up()
    const asking = { ...extra, headers, signal, agent: this.#agent }
    const got = await fetchFrom(origin, path, asking)
    const { status, isWhole, hasLeft, why, beganMs, endedMs, body } = got
    const ms = Math.round(endedMs - beganMs)
    const about = { status, isWhole, hasLeft, why, ms, bytes: body.length }
    log({ client: this.#name, ask: `${got.method} ${path} ${headers['range'] ?? ''}`, ...about })
    return got
  }

  async #up(): Promise<string> {
    for (;;) {
      const origin = this.#around.origin()
      if (origin) return origin
      await sleep(DOWN_LOOK_MS, undefined, { signal: this.#around.signal })
    }
  }
}
