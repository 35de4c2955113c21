import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Ask, Job, Report } from './client.ts'
import { type Blob, blobPath, type Image } from './images.ts'

/** Runs one job in a fresh client process, so that no run pays for the one before. */
export async function download(job: Job): Promise<Report> {
  const client = fork(join(import.meta.dirname, 'client.ts'), { stdio: 'inherit' })
  const answered = once(client, 'message')
  const ended = once(client, 'exit').then(() => Promise.reject(new Error('the download client ended early')))
  ended.catch(() => undefined) // it ends in any case, once it has answered
  client.send(job)
  try {
    const [report] = await Promise.race([answered, ended])
    return report as Report
  } finally {
    client.kill()
  }
}

/** `clients` whole downloads of one blob, all begun at once. */
export function downloadWhole(port: number, image: Image, blob: Blob, clients: number): Promise<Report> {
  const asks = Array.from({ length: clients }, (): Ask => ({ from: 0, bytes: blob.sizeBytes }))
  return download({ port, path: blobPath(image, blob), seed: blob.seed, asks })
}

/** @throws {Error} when one of the bodies is not the blob, byte for byte */
export function mustBeRight(report: Report, what: string): void {
  const wrong = report.told.find((each) => !each.isRight)
  if (wrong) throw new Error(`${what}: a wrong body: status ${wrong.status}, ${wrong.bytes} bytes`)
}
