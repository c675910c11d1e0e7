import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync } from 'node:fs'
import type { Duplex } from 'node:stream'
import { VmmError } from '../errors.js'
import { anonymousFile, type HostImage } from './host-image.js'
import type { Terminal } from './host-init.js'
import { FDS, lookUp } from './qemu.js'
import { StallWatch } from './stall-watch.js'
import { eachLine, type Input, keepTail, passInput, passOutput, type Streams } from './streams.js'

export interface AttemptOptions {
  /** Whether the host gives signs of life. */
  heartbeat: boolean
  /** Milliseconds without one that mean that the emulator stalled. */
  stallLimit: number
  signal: AbortSignal
  onReady: () => void
}

/** How one start of the host ended: with the command's status, or by a fault of the emulator itself. */
export type Outcome =
  | { exitCode: number; fault?: undefined }
  | { exitCode?: undefined; fault: string; inputTaken: boolean }

/**
 * Starts QEMU once and sees its job through. Whatever happens QEMU is gone when the promise settles, and if this
 * process dies first, the kernel kills QEMU.
 * @throws VmmError `ERR_EMULATED_HOST` if the host could not start or went down; what `signal` was aborted with
 */
export async function attempt(
  qemu: string,
  args: readonly string[],
  image: HostImage,
  streams: Streams,
  options: AttemptOptions,
): Promise<Outcome> {
  const initrd = anonymousFile(image.initramfs)
  let child: ChildProcess
  try {
    child = startQemu(qemu, args, initrd, streams.terminal)
  } finally {
    closeSync(initrd)
  }
  const stdio: readonly unknown[] = child.stdio
  const port = (name: keyof typeof FDS) => stdio[FDS[name]] as Duplex
  const serial = keepTail(port('serial'))
  const errors = keepTail(child.stderr!)
  const ended = new Promise<{ code: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.on('error', () => resolve({ code: null, signal: null }))
    child.on('exit', (code, signal) => resolve({ code, signal }))
  })

  let ready = false
  let exitCode: number | undefined
  let fault: string | undefined
  const kill = () => child.kill('SIGKILL')
  options.signal.addEventListener('abort', kill)
  const onStall = () => {
    fault = 'the emulator stalled'
    kill()
  }
  const watch = new StallWatch(onStall, options.stallLimit)
  if (options.heartbeat) watch.start()

  const mark = Buffer.from(image.endMark)
  const outputs = [
    passOutput(streams.terminal ? port('terminal') : port('stdout'), streams.stdout, mark),
    ...(streams.terminal === 'all' ? [] : [passOutput(port('stderr'), streams.stderr, mark)]),
  ]
  const control = port('control')
  const input = streams.terminal ? port('terminal') : port('stdin')
  const passed: { input?: Input } = {}
  eachLine(control, (line) => {
    watch.alive()
    const [word, status] = line.split(' ')
    if (word === 'ready') {
      ready = true
      options.onReady()
      passed.input = passInput(streams, input, control)
    } else if (word === 'exit') {
      exitCode = Number(status)
      void Promise.all(outputs).then(kill)
    }
  })
  if (options.signal.aborted) kill()

  const { code, signal } = await ended
  watch.stop()
  passed.input?.stop()
  options.signal.removeEventListener('abort', kill)
  for (const stream of [...child.stdio]) stream?.destroy()
  const log = [errors(), serial()].filter((text) => text !== '').join('\n')
  if (options.signal.aborted)
    throw ready ? options.signal.reason : withLog(options.signal.reason, log)
  if (exitCode !== undefined) return { exitCode }
  if (fault === undefined && ready && (signal ?? code) !== 0)
    fault = `the emulator ended with ${signal ?? `status ${code}`}`
  if (fault !== undefined) return { fault, inputTaken: passed.input?.taken ?? false }
  const why = ready ? 'the host went down' : 'the host did not start'
  throw new VmmError('ERR_EMULATED_HOST', `the emulated KVM host failed: ${why}\n${log}`)
}

/** A host that was ended before it was up says on its console why it was not. */
function withLog(reason: unknown, log: string): unknown {
  if (!(reason instanceof VmmError) || log === '') return reason
  return new VmmError(reason.code, `${reason.message}, before it was up\n${log}`)
}

/** QEMU in a session of its own, where the terminal's signals do not reach it, but dead as soon as we are. */
function startQemu(qemu: string, args: readonly string[], initrd: number, terminal: Terminal) {
  const setpriv = lookUp('setpriv')
  const [program, ...rest] = setpriv ? [setpriv, '--pdeathsig', 'KILL', '--', qemu] : [qemu]
  return spawn(program!, [...rest, ...args], {
    detached: true,
    // In the order of FDS.
    stdio: [
      'ignore',
      'ignore',
      'pipe',
      'pipe',
      'pipe',
      'pipe',
      'pipe',
      'pipe',
      terminal ? 'pipe' : 'ignore',
      initrd,
    ],
  })
}
