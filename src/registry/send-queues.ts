import { readFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { endianness } from 'node:os'
import ipaddr from 'ipaddr.js'

/** The kernel's own tables of this network namespace, IPv4 and IPv6 (proc(5), "/proc/net/tcp"). */
const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'] as const
const ROW = /^ *[0-9]+: [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]{8,32}):([0-9A-F]{4}) [0-9A-F]{2} ([0-9A-F]{8}):/
const WORD_CHARS = 8

/**
 * What the kernel has for each of these connections that their peers have not acknowledged, in bytes. What it doesn't
 * say, as on other systems than Linux, isn't in there. Never rejects.
 */
export async function sendQueuesOf(sockets: readonly Socket[]): Promise<ReadonlyMap<Socket, number>> {
  const byEnds = new Map(sockets.map((socket) => [endsOf(socket), socket]))
  const queues = new Map<Socket, number>()
  for (const table of TABLES) {
    for (const row of (await textOf(table)).split('\n')) {
      const [, localPort, remoteAddress, remotePort, queued] = ROW.exec(row) ?? []
      const socket = byEnds.get(`${localPort} ${remoteAddress} ${remotePort}`)
      if (socket && queued !== undefined) queues.set(socket, Number.parseInt(queued, 16))
    }
  }
  return queues
}

async function textOf(table: string): Promise<string> {
  try {
    return await readFile(table, 'latin1')
  } catch {
    return '' // no such table here: then nothing is known of any
  }
}

/** A connection as the tables name it. */
function endsOf({ localPort = 0, remoteAddress = '', remotePort = 0 }: Socket): string {
  if (!ipaddr.isValid(remoteAddress)) return ''
  const hex = Buffer.from(ipaddr.parse(remoteAddress).toByteArray()).toString('hex').toUpperCase()
  const words = hex.match(new RegExp(`.{${WORD_CHARS}}`, 'g')) ?? []
  return `${portOf(localPort)} ${words.map(asPrinted).join('')} ${portOf(remotePort)}`
}

/** Each word of an address is printed as the number that its bytes are to this machine. */
const asPrinted = (word: string): string =>
  endianness() === 'BE' ? word : Buffer.from(word, 'hex').reverse().toString('hex').toUpperCase()

const portOf = (port: number): string => port.toString(16).toUpperCase().padStart(4, '0')
