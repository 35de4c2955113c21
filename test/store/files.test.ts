import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { replaceFile } from '../../src/store/files.ts'

test('fault 32: a file that could not be replaced leaves no draft of the new one', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'millpond-files-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  await mkdir(join(folder, 'note')) // which no file can replace

  await expect(replaceFile(join(folder, 'note'), Buffer.from('what is held'))).rejects.toThrow()

  expect(await readdir(folder)).toEqual(['note'])
})
