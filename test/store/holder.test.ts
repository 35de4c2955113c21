import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { contentOf } from './content.ts'
import { fill, newFolder, openDisk } from './support.ts'

test('fault 50: a second disk on a folder is refused at once, in a sentence that names the folder and the holder', async () => {
  const folder = await newFolder()
  await using _disk = await openDisk(folder)

  await expect(openDisk(folder)).rejects.toThrow(
    new RegExp(`^the folder ${folder} is in use by process ${process.pid}, since 20[-0-9T:.]+Z$`),
  )
})

for (const [note, said, why] of [
  [
    { pid: 7, space: 'pid:[1]', host: 'web-0' },
    'process 7 of another container or machine (web-0), since ',
    'its number means nothing here',
  ],
  [{ pid: 2 ** 22 + 1, space: undefined, host: 'x' }, 'another process', 'the one that the note names has ended'],
  [undefined, 'another process', 'there is no note that can be read'],
] as const) {
  test(`fault 50: the holder is named only as far as that is known: ${why}`, async () => {
    const folder = await newFolder()
    await using _disk = await openDisk(folder)
    const path = join(folder, 'disk.pid')
    const own = JSON.parse(await readFile(path, 'utf8'))
    await writeFile(path, note ? JSON.stringify({ ...own, ...JSON.parse(JSON.stringify(note)) }) : 'torn{')

    await expect(openDisk(folder)).rejects.toThrow(`the folder ${folder} is in use by ${said}`)
  })
}

test('a folder that was let go can be taken again', async () => {
  const folder = await newFolder()
  {
    await using disk = await openDisk(folder)
    await fill(disk, contentOf(1, 100))
  }

  await using disk = await openDisk(folder)

  expect(disk.counts().blobs).toBe(1)
  expect(await readdir(folder)).not.toContain('disk.sqlite.torn')
})
