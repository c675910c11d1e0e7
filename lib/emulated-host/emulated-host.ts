import { invalidOption, VmmError } from '../errors.js'
import { attempt } from './attempt.js'
import { buildHostImage } from './host-image.js'
import { checkOptions, type EmulatedHostOptions } from './options.js'
import { findProgram, qemuArguments } from './qemu.js'
import { signalOfStatus } from './signals.js'
import type { Streams } from './streams.js'

/** Set to `1` for everything that runs inside an emulated host. */
export const INSIDE_VARIABLE = 'NODE_KVM_EMULATED_HOST'

/** How the command ended. */
export interface EmulatedHostResult {
  /** The command's exit status, as a shell tells it: 128 and the signal's number if it was killed. */
  exitCode: number
  /** The signal that such a status stands for. */
  signal: NodeJS.Signals | undefined
  /** The emulator's own faults after which the host was started again. */
  faults: readonly string[]
}

/**
 * Runs a command on a throw-away Linux machine with a real `kvm_amd`, emulated by QEMU, in which this machine's files
 * are as they are here: the same program, folder and environment. What it writes is lost, but for `shareReadWrite`.
 * Where standard input and output are a terminal, so they are for the command.
 *
 * The machine is gone when the promise settles, and when this process dies, however it dies.
 *
 * @throws VmmError `ERR_MISSING_PROGRAM` without QEMU, `ERR_ASSET` if the host's kernel cannot be fetched,
 * `ERR_TIMEOUT` when the time is up, `ERR_INVALID_OPTION`, `ERR_EMULATED_HOST` if the host fails: `value` then lists
 * the emulator's own faults, if it was those
 */
export async function runInEmulatedHost(
  command: readonly string[],
  options: EmulatedHostOptions = {},
): Promise<EmulatedHostResult> {
  const { repeat = true, report = () => {}, onReady = () => {} } = options
  const settings = checkOptions(options)
  if (process.env[INSIDE_VARIABLE]) {
    throw new VmmError('ERR_EMULATED_HOST', 'an emulated KVM host cannot run inside another')
  }
  if (command.length === 0 || command[0] === '') {
    throw invalidOption('command', command, 'a program and its arguments')
  }
  const qemu = findProgram(options.qemu ?? 'qemu-system-x86_64')
  const streams = streamsOf(options)
  const heartbeat = !settings.icount
  // For want of a network they are of no use in there, and each Node would read them before anything else, for seconds.
  const { NODE_EXTRA_CA_CERTS: _, ...usual } = process.env
  const env = { ...usual, ...options.env, [INSIDE_VARIABLE]: '1' }
  const { rows = 24, columns = 80 } = streams.stdout as { rows?: number; columns?: number }
  const job = { ...settings, command, env, terminal: streams.terminal, rows, columns, heartbeat }
  const image = await buildHostImage(job, { report })
  const args = qemuArguments({
    ...settings,
    terminal: streams.terminal !== false,
    kernel: image.kernel.vmlinuz,
  })
  const faults: string[] = []
  const limit = timeLimit(settings.timeoutSeconds, options.signal)
  const attemptOptions = {
    heartbeat,
    stallLimit: settings.stallSeconds * 1000,
    signal: limit.signal,
    onReady,
  }
  try {
    for (;;) {
      report('starting the emulated KVM host')
      const outcome = await attempt(qemu, args, image, streams, attemptOptions)
      if (outcome.fault === undefined) {
        const { exitCode } = outcome
        return { exitCode, signal: signalOfStatus(exitCode), faults }
      }
      faults.push(outcome.fault)
      if (!repeat || outcome.inputTaken || faults.length > 1) throw emulatorFailed(faults)
      report(`${outcome.fault}; starting again`)
    }
  } finally {
    limit.clear()
  }
}

function emulatorFailed(faults: readonly string[]): VmmError {
  const message = `the emulated KVM host failed: ${faults.join(', and then again: ')}`
  return new VmmError('ERR_EMULATED_HOST', message, { value: faults })
}

function streamsOf(options: EmulatedHostOptions): Streams {
  const stdin = options.stdin === 'ignore' ? undefined : (options.stdin ?? process.stdin)
  const stdout = options.stdout ?? process.stdout
  const stderr = options.stderr ?? process.stderr
  const isTerminal = (stream: unknown) =>
    (stream as { isTTY?: boolean } | undefined)?.isTTY === true
  const terminal = isTerminal(stdin) && isTerminal(stdout)
  return { stdin, stdout, stderr, terminal: terminal && (isTerminal(stderr) ? 'all' : 'output') }
}

/** A signal that is aborted when the time is up, or when the caller's is. */
function timeLimit(seconds: number | undefined, outer: AbortSignal | undefined) {
  const controller = new AbortController()
  const onAbort = () => controller.abort(outer?.reason)
  if (outer?.aborted) onAbort()
  outer?.addEventListener('abort', onAbort)
  const expire = () => {
    const message = `the emulated KVM host was ended after ${seconds} seconds`
    controller.abort(new VmmError('ERR_TIMEOUT', message))
  }
  const timer = seconds === undefined ? undefined : setTimeout(expire, seconds * 1000)
  const clear = () => {
    clearTimeout(timer)
    outer?.removeEventListener('abort', onAbort)
  }
  return { signal: controller.signal, clear }
}
