import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { DiskError } from '../../src/store/disk-error.ts'
import { OpenBlobs } from '../../src/store/open-blob.ts'
import { contentOf } from './content.ts'
import { newFolder } from './support.ts'

test('who leaves while he reads is told so, and the disk is not blamed', async () => {
  const { digest, bytes } = contentOf(1, 100_000)
  const path = join(await newFolder(), 'blob')
  await writeFile(path, bytes)
  const blamed: DiskError[] = []
  const blob = await new OpenBlobs().open(digest, path, bytes.length, (error) => blamed.push(error))

  await blob?.[Symbol.asyncDispose]()
  const reading = blob?.read(Buffer.alloc(1000), 0, 1000)

  await expect(reading).rejects.toMatchObject({ name: 'DiskError' })
  expect(blamed).toEqual([])
})
