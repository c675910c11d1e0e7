import type { Socket } from 'node:net'
import type { VirtualMachine } from '../../index.js'
import * as frames from './frames.js'
import type { ExecRequest } from './protocol.js'

/** Runs a program in the guest for a client: its streams go to and fro as frames, and its end is the last. */
export async function serveExec(
  vm: VirtualMachine,
  socket: Socket,
  { argv, env, cwd, tty }: ExecRequest,
  answer: () => void,
): Promise<void> {
  const program = await vm.spawn(argv, { env, ...(cwd && { cwd }), ...(tty && { tty }) })
  // Who has gone takes the program along.
  socket.once('close', () => program.kill('SIGHUP'))
  answer()
  const decoder = new frames.FrameDecoder((type, payload) => {
    if (type === frames.STDIN) return frames.writeTo(program.stdin, payload)
    if (type === frames.STDIN_END) program.stdin.end()
    else if (type === frames.SIGNAL) program.kill(String(payload) as NodeJS.Signals)
    else if (type === frames.RESIZE && payload.length === 4) {
      program.resize(payload.readUInt16BE(0), payload.readUInt16BE(2))
    }
    return undefined
  })
  program.stdin.on('error', () => {}) // a program that reads no more
  decoder.on('error', () => socket.destroy())
  socket.pipe(decoder)
  const outputs = [
    program.stdout.pipe(new frames.FrameEncoder(frames.STDOUT)),
    program.stderr.pipe(new frames.FrameEncoder(frames.STDERR)),
  ]
  for (const output of outputs) output.pipe(socket, { end: false })
  const ended = outputs.map((output) => new Promise((resolve) => output.once('end', resolve)))
  const exit = await program.closed
  await Promise.all(ended)
  socket.end(frames.encodeFrame(frames.EXIT, JSON.stringify(exit)))
}
