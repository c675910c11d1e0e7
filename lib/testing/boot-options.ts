import type { KernelAsset } from '../assets/kernel.js'
import { INSIDE_VARIABLE } from '../emulated-host/emulated-host.js'
import { describe, invalidOption } from '../errors.js'
import type { VirtualMachineOptions } from '../index.js'
import { parseByteSize } from '../util/byte-size.js'
import { checkTimeout } from './boot-console.js'
import { KERNEL_REPORT_KINDS, type KernelReportKind } from './kernel-reports.js'

/** What {@link bootTest} takes: what a machine takes, and more. */
export interface BootTestOptions extends Omit<VirtualMachineOptions, 'kernel'> {
  /** A path or the bytes, or what {@link kernelAsset} gives, which brings its modules along. */
  kernel: string | Uint8Array | KernelAsset
  /**
   * Files by their paths in the guest, with their contents: `{ 'test/data': bytes }`. They are added to `initrd`, or
   * without one to an initramfs with busybox and the `/init` of {@link guestInit}. All may be executed.
   */
  files?: Readonly<Record<string, string | Uint8Array>>
  /** A script for the guest's shell; its exit status is the test's. Needs the `/init` of {@link guestInit}. */
  run?: string
  /** Modules that the guest loads, besides those for its devices. Needs a `kernel` of {@link kernelAsset}. */
  modules?: readonly string[]
  /** Milliseconds after which the machine is stopped, and the test has failed: 1 to 2^31 - 1, 120,000 unless told. */
  timeout?: number
  /**
   * Reports of the kernel's that are no failures, by their kinds or what is in their texts:
   * `['warning', /clocksource: timekeeping watchdog/]`. None unless told, but for what the emulated host is to blame for.
   */
  allow?: readonly (KernelReportKind | RegExp)[]
  /**
   * A folder for the log of a boot that failed, made when needed; `false` for none.
   * The environment's `NODE_KVM_BOOT_LOGS`, or else `boot-logs`, unless told.
   */
  logFolder?: string | false
  /** How much of the log is kept in memory: 4 KiB to 256 MiB. `'4M'` unless told. What is older is lost, and counted. */
  logSize?: number | string
  /** Ends the machine when aborted, and fails what waits, with the signal's reason. */
  signal?: AbortSignal
}

/** The options of a boot test's own, checked and completed, and the machine's. */
export interface BootConfig {
  readonly kernel: BootTestOptions['kernel']
  readonly files: readonly (readonly [path: string, data: string | Uint8Array])[]
  readonly run: string | undefined
  readonly modules: readonly string[]
  readonly timeout: number
  readonly allow: readonly (KernelReportKind | RegExp)[]
  readonly logFolder: string | undefined
  readonly logSize: number
  readonly signal: AbortSignal | undefined
  readonly machine: Omit<VirtualMachineOptions, 'kernel'>
}

/** QEMU's emulation of SVM does not intercept a nested guest's XSETBV, and every guest in there complains of it. */
const EMULATOR_FAULTS = [/XSAVE consistency problem/]

/** @throws VmmError `ERR_INVALID_OPTION` for what is wrong with the options that are not the machine's */
export function parseBootOptions(options: BootTestOptions): BootConfig {
  if (typeof options !== 'object' || options === null) {
    throw invalidOption('options', options, 'an object of options')
  }
  const { kernel, files, run, modules, timeout, allow, logFolder, logSize, signal, ...machine } =
    options
  checkTimeout(timeout ?? 120_000)
  check('run', run, 'a shell script', run === undefined || typeof run === 'string')
  check('signal', signal, 'an AbortSignal', signal === undefined || signal instanceof AbortSignal)
  const folders = "a folder's path, or false"
  check('logFolder', logFolder, folders, isOneOf(logFolder, undefined, false) || isText(logFolder))
  const isAsset = isKernelAsset(kernel)
  checkList('modules', modules, 'the name of a module', isText)
  check(
    'modules',
    modules,
    'none, unless kernel is what kernelAsset() gives',
    isAsset || !modules?.length,
  )
  const kinds = `a regular expression, or one of ${KERNEL_REPORT_KINDS.join(', ')}`
  checkList('allow', allow, kinds, (item) => item instanceof RegExp || isKind(item))
  return {
    kernel,
    files: checkFiles(files),
    run,
    modules: modules ?? [],
    timeout: timeout ?? 120_000,
    allow: [...(allow ?? []), ...(process.env[INSIDE_VARIABLE] ? EMULATOR_FAULTS : [])],
    logFolder:
      logFolder === false
        ? undefined
        : (logFolder ?? (process.env.NODE_KVM_BOOT_LOGS || 'boot-logs')),
    logSize: checkSize(logSize ?? '4M'),
    signal,
    machine,
  }
}

export function isKernelAsset(kernel: unknown): kernel is KernelAsset {
  return typeof kernel === 'object' && kernel !== null && 'vmlinuz' in kernel
}

const isKind = (value: unknown) => KERNEL_REPORT_KINDS.includes(value as KernelReportKind)
const isText = (value: unknown) => typeof value === 'string' && value !== ''
const isOneOf = (value: unknown, ...choices: unknown[]) => choices.includes(value)

function check(option: string, value: unknown, expected: string, fine: boolean): void {
  if (!fine) throw invalidOption(option, value, expected)
}

function checkList(
  option: string,
  values: unknown,
  expected: string,
  isFine: (value: unknown) => boolean,
): void {
  if (values === undefined) return
  if (!Array.isArray(values)) throw invalidOption(option, values, 'an array')
  for (const [index, value] of values.entries()) {
    check(`${option}[${index}]`, value, expected, isFine(value))
  }
}

function checkFiles(files: unknown): BootConfig['files'] {
  if (files === undefined) return []
  if (typeof files !== 'object' || files === null || Array.isArray(files)) {
    throw invalidOption('files', files, "an object of files' contents by their paths")
  }
  return Object.entries(files).map(([path, data]: [string, unknown]) => {
    const isData = typeof data === 'string' || data instanceof Uint8Array
    check(`files[${describe(path)}]`, data, 'a text or a Uint8Array', isData)
    return [path, data as string | Uint8Array]
  })
}

function checkSize(size: unknown): number {
  const bytes = typeof size === 'string' ? parseByteSize(size) : size
  const isSize = Number.isInteger(bytes) && Number(bytes) >= 4096 && Number(bytes) <= 2 ** 28
  check('logSize', size, "from 4 KiB to 256 MiB, such as '4M'", isSize)
  return bytes as number
}
