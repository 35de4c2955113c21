import { EventEmitter } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import { expect, test } from 'vitest'
import { Pipelined } from '../../src/registry/pipelined.ts'

const WAITING_MAX = 10_000

test('fault 25: of all connections ten thousand requests wait for their turn; who leaves gives back all of his places', async () => {
  const pipelined = new Pipelined()
  const [greedy, other] = [new Socket(), new Socket()]
  const waits = (socket: Socket): boolean => {
    const request = { socket } as IncomingMessage
    const response = new EventEmitter() as ServerResponse
    return pipelined.wait(request, response, () => undefined)
  }
  const taken = Array.from({ length: WAITING_MAX }, () => waits(greedy))
  expect(taken.every((isTaken) => isTaken)).toBe(true)
  expect(waits(other)).toBe(false)

  greedy.destroy()
  await new Promise((resolve) => greedy.once('close', resolve))

  expect(Array.from({ length: WAITING_MAX }, () => waits(other)).every((isTaken) => isTaken)).toBe(true)
  expect(waits(other)).toBe(false)
  other.destroy()
})
