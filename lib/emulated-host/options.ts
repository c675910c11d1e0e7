import { realpathSync, statSync } from 'node:fs'
import { totalmem } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import type { Report } from '../assets/cache.js'
import { invalidOption } from '../errors.js'

/** What {@link runInEmulatedHost} takes. */
export interface EmulatedHostOptions {
  /** MiB of memory, 512 up to what this machine has; 4096 unless told, or three quarters of this machine's if less. */
  memoryMiB?: number
  /** Processors, 1 to 64; 2 unless told. */
  cpus?: number
  /** Seconds after which the host is ended and `ERR_TIMEOUT` thrown, the boot included. No limit unless told. */
  timeoutSeconds?: number
  /** Path of another QEMU than the `qemu-system-x86_64` of `PATH`. */
  qemu?: string
  /**
   * Counts instructions as time (`-icount shift=0,sleep=on`), on one processor: figures then repeat. A QEMU whose SVM
   * is as it comes hangs nested guests in this mode. There is no watch for stalls then.
   */
  icount?: boolean
  /** Folders that the command may change for good; everything else it writes is lost. */
  shareReadWrite?: readonly string[]
  /** The command's working folder; this process's unless told. */
  cwd?: string
  /** Variables on top of this process's environment, of which NODE_EXTRA_CA_CERTS is left out; `undefined` removes one. */
  env?: Readonly<Record<string, string | undefined>>
  /** This process's unless told; `'ignore'` for none. */
  stdin?: Readable | 'ignore'
  /** This process's unless told. Not ended. */
  stdout?: Writable
  /** This process's unless told. Not ended. */
  stderr?: Writable
  /**
   * Starts again, once, after a fault of the emulator itself; true unless told. Then the output begins anew, too.
   * Never done once the command was sent something of a `stdin` that is no terminal, as that is gone.
   */
  repeat?: boolean
  /** Seconds without a sign of life from a running host that mean that the emulator stalled; 60 unless told. */
  stallSeconds?: number
  /** Ends the host; what is thrown is the signal's reason. */
  signal?: AbortSignal
  /** Told of each long step before the host is up. */
  report?: Report
  /** Called when the host is up and the command about to start. */
  onReady?: () => void
}

/** The options that need a look, complete. */
export interface HostSettings {
  memoryMiB: number
  cpus: number
  icount: boolean
  cwd: string
  shareReadWrite: readonly string[]
  stallSeconds: number
  timeoutSeconds: number | undefined
}

/** Seconds that a timer can wait for. */
const MAX_SECONDS = 2_147_483

/** @throws VmmError `ERR_INVALID_OPTION` */
export function checkOptions(options: EmulatedHostOptions): HostSettings {
  const { icount = false, timeoutSeconds, shareReadWrite = [], stallSeconds = 60 } = options
  const total = Math.floor(totalmem() / 2 ** 20)
  const memoryMiB = options.memoryMiB ?? Math.min(4096, Math.floor(total * 0.75))
  checkInteger('memoryMiB', memoryMiB, 512, total, ', which is what this machine has')
  const cpus = options.cpus ?? (icount ? 1 : 2)
  checkInteger('cpus', cpus, 1, icount ? 1 : 64, icount ? ', with icount' : '')
  if (timeoutSeconds !== undefined) checkSeconds('timeoutSeconds', timeoutSeconds)
  checkSeconds('stallSeconds', stallSeconds)
  return {
    memoryMiB,
    cpus,
    icount,
    timeoutSeconds,
    stallSeconds,
    cwd: checkFolder('cwd', options.cwd ?? process.cwd()),
    shareReadWrite: shareReadWrite.map((path, index) =>
      checkShare(`shareReadWrite[${index}]`, path),
    ),
  }
}

function checkInteger(option: string, value: number, low: number, high: number, why: string): void {
  if (Number.isInteger(value) && value >= low && value <= high) return
  throw invalidOption(option, value, `an integer from ${low} to ${high}${why}`)
}

function checkSeconds(option: string, value: number): void {
  if (value > 0 && value <= MAX_SECONDS) return
  throw invalidOption(option, value, `a number above 0, at most ${MAX_SECONDS}`)
}

/** The real path, as links could lead elsewhere while the host is being set up. */
function checkFolder(option: string, path: string): string {
  try {
    const real = realpathSync(path)
    if (statSync(real).isDirectory()) return real
  } catch {
    // Said below.
  }
  throw invalidOption(option, path, 'an existing folder')
}

function checkShare(option: string, path: string): string {
  const real = checkFolder(option, path)
  if (real === '/') throw invalidOption(option, path, 'a folder below /')
  return real
}
