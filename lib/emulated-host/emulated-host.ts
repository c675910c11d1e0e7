import { realpathSync, statSync } from 'node:fs'
import { totalmem } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import type { Report } from '../assets/cache.js'
import { invalidOption, VmmError } from '../errors.js'
import { attempt, type Streams } from './attempt.js'
import { buildHostImage } from './host-image.js'
import { findProgram, qemuArguments } from './qemu.js'
import { signalOfStatus } from './signals.js'

/** Set to `1` for everything that runs inside an emulated host. */
export const INSIDE_VARIABLE = 'NODE_KVM_EMULATED_HOST'

export interface EmulatedHostOptions {
  /** MiB of memory, 512 up to what this machine has; 4096 unless told. */
  memoryMiB?: number
  /** Processors, 1 to 64; 2 unless told. */
  cpus?: number
  /** Seconds after which the host is ended and `ERR_TIMEOUT` thrown, the boot included. No limit unless told. */
  timeoutSeconds?: number
  /** Path of another QEMU than the `qemu-system-x86_64` of `PATH`. */
  qemu?: string
  /**
   * Counts instructions as time (`-icount shift=0,sleep=on`), one processor: figures then repeat. Debian's QEMU hangs
   * guests in this mode: see the design.
   */
  icount?: boolean
  /** Folders that the command may change for good; everything else it writes is lost. */
  shareReadWrite?: readonly string[]
  /** The command's working folder; this process's unless told. */
  cwd?: string
  /** Variables on top of this process's environment; `undefined` removes one. */
  env?: Readonly<Record<string, string | undefined>>
  /** This process's unless told; `'ignore'` for none. */
  stdin?: Readable | 'ignore'
  /** This process's unless told. Not ended. */
  stdout?: Writable
  /** This process's unless told. Not ended. */
  stderr?: Writable
  /** Starts again, once, after a fault of the emulator itself; true unless told. Then the output begins anew, too. */
  repeat?: boolean
  signal?: AbortSignal
  report?: Report
  /** Called when the host is up and the command about to start. */
  onReady?: () => void
}

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
 * @throws VmmError `ERR_MISSING_PROGRAM` without QEMU, `ERR_ASSET` if the host's kernel cannot be fetched,
 * `ERR_TIMEOUT`, `ERR_EMULATED_HOST` if the host fails, `ERR_INVALID_OPTION`
 */
export async function runInEmulatedHost(
  command: readonly string[],
  options: EmulatedHostOptions = {},
): Promise<EmulatedHostResult> {
  const { qemu = 'qemu-system-x86_64', icount = false, repeat = true, report = () => {} } = options
  const onReady = options.onReady ?? (() => {})
  const settings = checkOptions(command, options)
  const program = findProgram(qemu)
  const streams = streamsOf(options)
  const job = {
    ...settings,
    command,
    env: { ...process.env, ...options.env, [INSIDE_VARIABLE]: '1' },
    terminal: streams.terminal,
    heartbeat: !icount,
  }
  const image = await buildHostImage(job, { report })
  const args = qemuArguments({
    ...settings,
    icount,
    terminal: streams.terminal !== false,
    kernel: image.kernel.vmlinuz,
  })
  const limit = timeLimit(options)
  const faults: string[] = []
  try {
    for (;;) {
      report('starting the emulated KVM host')
      const outcome = await attempt(program, args, image, streams, {
        heartbeat: !icount,
        signal: limit.signal,
        onReady,
      })
      if (outcome.fault === undefined) {
        return { exitCode: outcome.exitCode, signal: signalOfStatus(outcome.exitCode), faults }
      }
      if (!repeat || faults.length > 0)
        throw new VmmError('ERR_EMULATED_HOST', `${outcome.fault}, and nothing of ours did`)
      faults.push(outcome.fault)
      report(`${outcome.fault}: starting again`)
    }
  } finally {
    limit.clear()
  }
}

function checkOptions(command: readonly string[], options: EmulatedHostOptions) {
  const { memoryMiB = 4096, icount = false, timeoutSeconds, shareReadWrite = [] } = options
  const cpus = options.cpus ?? (icount ? 1 : 2)
  if (process.env[INSIDE_VARIABLE]) {
    throw new VmmError('ERR_EMULATED_HOST', 'an emulated KVM host cannot run inside another')
  }
  if (command.length === 0 || command[0] === '')
    throw invalidOption('command', command, 'a program and its arguments')
  const most = Math.floor(totalmem() / 2 ** 20)
  if (!Number.isInteger(memoryMiB) || memoryMiB < 512 || memoryMiB > most) {
    throw invalidOption(
      'memoryMiB',
      memoryMiB,
      `an integer from 512 to the ${most} that this machine has`,
    )
  }
  const cpuLimit = icount ? 1 : 64
  if (!Number.isInteger(cpus) || cpus < 1 || cpus > cpuLimit) {
    throw invalidOption('cpus', cpus, icount ? '1 with icount' : 'an integer from 1 to 64')
  }
  if (timeoutSeconds !== undefined && !(timeoutSeconds > 0 && timeoutSeconds <= MAX_TIMEOUT_S)) {
    throw invalidOption(
      'timeoutSeconds',
      timeoutSeconds,
      `a number above 0 and at most ${MAX_TIMEOUT_S}`,
    )
  }
  return {
    memory: memoryMiB,
    cpus,
    cwd: options.cwd ?? process.cwd(),
    shareReadWrite: shareReadWrite.map(checkFolder),
  }
}

/** What a timer can wait for. */
const MAX_TIMEOUT_S = 2_147_483

/** Its real path, as links could lead elsewhere while the host is being set up. */
function checkFolder(path: string, index: number): string {
  try {
    const real = realpathSync(path)
    if (statSync(real).isDirectory() && real !== '/') return real
  } catch {
    // Said below.
  }
  throw invalidOption(`shareReadWrite[${index}]`, path, 'an existing folder that is not /')
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

function timeLimit({ timeoutSeconds, signal }: EmulatedHostOptions) {
  const controller = new AbortController()
  const onAbort = () => controller.abort(signal?.reason)
  if (signal?.aborted) onAbort()
  signal?.addEventListener('abort', onAbort)
  const expire = () =>
    controller.abort(
      new VmmError(
        'ERR_TIMEOUT',
        `the emulated KVM host was ended after ${timeoutSeconds} seconds`,
      ),
    )
  const timer = timeoutSeconds === undefined ? undefined : setTimeout(expire, timeoutSeconds * 1000)
  const clear = () => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
  return { signal: controller.signal, clear }
}
