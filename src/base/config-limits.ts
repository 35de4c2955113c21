import { z } from 'zod'
import { count, countOrOff, sizeFrom, wait } from './config-kinds.ts'
import { KIB, MIB } from './units.ts'

/** What an operator may set of the limits; the others are the specification's, or a client's own. */
export const limits = z.strictObject({
  connections: count
    .prefault(4096)
    .describe(
      'Clients at once; more are answered 503. Half of the files that may be open, less 256, where that is fewer.',
    ),
  connectionsPerAddress: countOrOff
    .prefault('off')
    .describe('The same for each address. Behind a balancer or NAT all clients have one.'),
  requestHead: sizeFrom(8 * KIB, '8KiB')
    .prefault('64KiB')
    .describe("A request's line and header fields; a larger head is answered 431."),
  requestsPerConnection: count.prefault(1000).describe('After so many a connection is closed.'),
  headTimeout: wait.prefault('10s').describe('For the head of a request to come whole; a slower one is answered 408.'),
  idleTimeout: wait
    .prefault('125s')
    .describe("Between two requests of a connection. Longer than any client's own: else a request meets our close."),
  minimumRate: sizeFrom(0, '0')
    .prefault('1KiB')
    .describe(
      'A second, over a minute: who takes less of an answer is cut, as far as the kernel tells. 0 cuts nobody.',
    ),
  fills: count.prefault(64).describe('Blobs fetched at once; more wait for their turn.'),
  abandonedFills: count
    .prefault(16)
    .describe('Of those, how many may go on that no client waits for; the one left first stops and can be resumed.'),
  readBuffers: sizeFrom(MIB, '1MiB').prefault('256MiB').describe('Memory for blobs on their way to clients.'),
  manifestMemory: sizeFrom(MIB, '1MiB').prefault('64MiB').describe('Memory for manifests, so that they cost no disk.'),
})

export type LimitsConfig = z.output<typeof limits>
