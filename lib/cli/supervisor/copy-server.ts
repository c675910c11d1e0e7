import type { Socket } from 'node:net'
import { basename } from 'node:path'
import type { CopySummary, VirtualMachine } from '../../index.js'
import type { Answer, CopyReport, CopyRequest } from './protocol.js'

/** Milliseconds between two lines of progress. */
const PROGRESS_MS = 100

/** Copies for a client, tells it how far that is, and leaves off when it goes. */
export async function serveCopy(
  vm: VirtualMachine,
  socket: Socket,
  { direction, from, to }: CopyRequest,
  send: (line: Answer | CopyReport) => void,
): Promise<void> {
  const abort = new AbortController()
  socket.once('close', () => abort.abort(new Error('the client has gone')))
  socket.resume() // else its end is not seen
  let told = performance.now()
  const options = {
    recursive: true,
    signal: abort.signal,
    onProgress: ({ path: _, ...progress }: CopySummary & { path: string }) => {
      // Whoever does not read is told no more.
      if (performance.now() - told < PROGRESS_MS || socket.writableLength > 0) return
      told = performance.now()
      send({ progress })
    },
  }
  send({ result: null })
  try {
    const result =
      direction === 'in'
        ? await vm.copyIn(from, await inGuest(vm, from, to, abort.signal), options)
        : await vm.copyOut(from, to, options)
    send({ result })
  } catch (error) {
    if (socket.writable) send({ error: (error as Error).message })
  }
  socket.end()
}

/** Into a folder that is there, as cp(1) has it. */
async function inGuest(
  vm: VirtualMachine,
  from: string,
  to: string,
  signal: AbortSignal,
): Promise<string> {
  return (await vm.agent?.isDirectory(to, { signal })) ? `${to}/${basename(from)}` : to
}
