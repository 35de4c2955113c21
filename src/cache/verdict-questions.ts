import { OciError } from '../base/errors.ts'
import { algorithmOf, type Digest, digestOf } from '../oci/digest.ts'
import { readManifest } from '../oci/manifest.ts'
import { essenceOf } from '../oci/media-types.ts'
import type { Reference, Repository } from '../oci/names.ts'
import type { BlobHead, ListingTold, ManifestHead, ManifestTold } from '../upstream/told.ts'
import { type Asks, countsPulls } from './asks.ts'
import { blobUnknown } from './blob-proof.ts'
import { manifestUnknown, repositoryUnknown } from './negatives.ts'
import { findTags } from './pages.ts'
import { toldOf } from './resolutions.ts'

/** The very thing that a caller asks for: by asking upstream for it, upstream tells whether he may read. */
export type Question =
  | { readonly of: 'manifest'; readonly reference: Reference }
  | { readonly of: 'blob' | 'referrers'; readonly digest: Digest }
  | { readonly of: 'tags' }

/** What upstream said: the repository is open to him, the thing is not there, or he is refused. */
export type Said = 'yes' | 'absent' | 'denied'

/** What upstream is asked for on a caller's behalf. */
export type Confirming = Pick<Asks, 'headManifest' | 'getManifest' | 'headBlob' | 'getTags'>

/** Tells questions apart; a tag has no slash. */
export function textOf(question: Question): string {
  if (question.of === 'tags') return 'tags/list'
  if (question.of !== 'manifest') return `${question.of}/${question.digest}`
  return 'tag' in question.reference ? question.reference.tag : question.reference.digest
}

/** How it is told that there is no such thing: the same whether it is so or he may not know. */
export function absentOf({ of }: Question): OciError {
  if (of === 'tags') return repositoryUnknown()
  return of === 'blob' ? blobUnknown() : manifestUnknown()
}

/**
 * Asks upstream one question. A page that answers 200 to everything is no yes.
 *
 * @throws {OciError} why upstream could not be asked, or that what it said is no answer
 */
export async function saidTo(
  question: Question,
  upstream: Confirming,
  repository: Repository,
  signal: AbortSignal,
): Promise<Said> {
  switch (question.of) {
    case 'manifest':
      return await saidOfManifest(question.reference, upstream, repository, signal)
    case 'referrers':
      return await saidOfManifest({ digest: question.digest }, upstream, repository, signal)
    case 'blob':
      return saidOfBlob(await upstream.headBlob(repository.path, question.digest, signal))
    case 'tags':
      return saidOfTags(await upstream.getTags(repository.path, { n: 1 }, signal))
    default:
      return question satisfies never
  }
}

async function saidOfManifest(
  reference: Reference,
  upstream: Confirming,
  repository: Repository,
  signal: AbortSignal,
): Promise<Said> {
  const head = await upstream.headManifest(repository.path, reference, signal)
  if (head.at === 'absent' || head.at === 'denied') return head.at
  if (head.at === 'found' && isOf(reference, head)) return 'yes'
  // a GET would be a pull that is counted
  if (countsPulls(repository.host)) return saidOfTags(await upstream.getTags(repository.path, { n: 1 }, signal))
  return saidByBytes(reference, await upstream.getManifest(repository.path, reference, signal))
}

function isOf(reference: Reference, head: Extract<ManifestHead, { readonly at: 'found' }>): boolean {
  if ('digest' in reference && head.digest !== undefined) return head.digest === reference.digest
  return head.digest !== undefined || toldOf(head) !== undefined
}

function saidByBytes(reference: Reference, told: ManifestTold): Said {
  if (told.at !== 'found') return told.at
  const isRight =
    'digest' in reference
      ? digestOf(told.bytes, algorithmOf(reference.digest)) === reference.digest
      : readManifest(told.bytes, told.contentType).at !== 'unreadable'
  if (isRight) return 'yes'
  throw noAnswer()
}

function saidOfBlob(head: BlobHead): Said {
  if (head.at !== 'found') return head.at
  if (essenceOf(head.contentType ?? '') !== 'text/html') return 'yes'
  throw noAnswer() // a login page
}

function saidOfTags(told: ListingTold): Said {
  if (told.at !== 'found') return told.at
  if (findTags(told.bytes)) return 'yes'
  throw noAnswer()
}

const noAnswer = (): OciError =>
  new OciError('upstreamFailed', 'what the upstream sent does not tell who may read', { fault: 'header' })
