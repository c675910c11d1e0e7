import { totalmem } from 'node:os'
import { z } from 'zod'
import type { BlockBackend } from '../backends/block/block-backend.js'
import type { NetBackend } from '../backends/net/net-backend.js'
import { type ErrorDetails, invalidOption, VmmError } from '../errors.js'
import { formatByteSize, parseByteSize } from '../util/byte-size.js'

/** What {@link VirtualMachine.create} takes. Read once, when `create` is called. */
export interface VirtualMachineOptions {
  /**
   * The kernel: a path or the bytes. A Linux bzImage, or an ELF `vmlinux`; told apart by their magic numbers.
   */
  kernel: string | Uint8Array
  /** The initial RAM disk: a path or the bytes. */
  initrd?: string | Uint8Array
  /** The kernel's command line: ASCII without NUL and newline, as long as the kernel allows (2047 bytes for today's). */
  commandLine?: string
  /** Bytes, or text such as `'256M'`; a multiple of 4096 from 16 MiB to the host's memory. `'256M'` unless told. */
  memory?: number | string
  /** vCPUs, from 1 to what KVM reports as KVM_CAP_MAX_VCPUS. 1 unless told. */
  cpus?: number
  /** Disks in the order the guest sees them: the first is `/dev/vda`. Opened by `create`, closed with the machine. */
  disks?: readonly BlockBackend[]
  /** Network backends in the order the guest sees them: the first is `eth0`. */
  nets?: readonly NetBackend[]
  /** The serial console. */
  console?: {
    /** Bytes of output kept for a reader that is behind; beyond them output is lost, and counted. 1 MiB unless told. */
    bufferSize?: number | string
  }
  /** How the guest learns of its virtio devices. `'auto'`, the default: by ACPI, or, if `commandLine` has `acpi=off`, by
   * `virtio_mmio.device=` parameters, for kernels that are built to take them. */
  discovery?: 'auto' | 'acpi' | 'command-line'
  /** A name for errors and logs. */
  name?: string
}

/** The options, checked and completed. */
export interface MachineConfig {
  readonly kernel: string | Uint8Array
  readonly initrd: string | Uint8Array | undefined
  readonly commandLine: string
  readonly memory: number
  readonly cpus: number
  readonly disks: readonly BlockBackend[]
  readonly nets: readonly NetBackend[]
  readonly consoleBufferSize: number
  readonly discovery: 'auto' | 'acpi' | 'command-line'
  readonly name: string
}

export const MEMORY_MIN = 16 * 2 ** 20
const MAX_DISKS_AND_NETS = 16

const memoryExpected = () =>
  `a multiple of 4096 bytes from ${formatByteSize(MEMORY_MIN)} to the host's ${formatByteSize(totalmem())}, such as '256M'`

/** Sizes are given in bytes or as text; either way the rest of the program sees bytes. */
function byteSize(expected: () => string, accept: (bytes: number) => boolean) {
  return z.unknown().transform((value, context) => {
    const bytes = typeof value === 'string' ? parseByteSize(value) : value
    if (typeof bytes === 'number' && Number.isSafeInteger(bytes) && accept(bytes)) return bytes
    context.addIssue({ code: 'custom', message: expected(), input: value })
    return z.NEVER
  })
}

function image(what: string) {
  return z.union([z.string().min(1), z.instanceof(Uint8Array)], {
    error: `a path of ${what}, or its bytes`,
  })
}

function backend<T extends BlockBackend | NetBackend>(expected: string) {
  return z.custom<T>(
    (value) =>
      typeof value === 'object' && value !== null && typeof (value as T).open === 'function',
    {
      error: expected,
    },
  )
}

const schema = z.strictObject(
  {
    kernel: image('a kernel image'),
    initrd: image('an initrd').optional(),
    commandLine: z.string({ error: 'a string' }).default(''),
    memory: byteSize(
      memoryExpected,
      (bytes) => bytes % 4096 === 0 && bytes >= MEMORY_MIN && bytes <= totalmem(),
    ).prefault('256M'),
    cpus: z
      .int({ error: 'a whole number of at least 1' })
      .min(1, { error: 'a whole number of at least 1' })
      .default(1),
    disks: z
      .array(backend<BlockBackend>('a disk, such as new FileDisk(path)'), {
        error: 'an array of disks',
      })
      .default([]),
    nets: z
      .array(backend<NetBackend>('a network backend, such as new Tap(name)'), {
        error: 'an array of network backends',
      })
      .default([]),
    console: z
      .strictObject({
        bufferSize: byteSize(
          () => "from 4 KiB to 1 GiB, such as '1M'",
          (bytes) => bytes >= 4096 && bytes <= 2 ** 30,
        ).prefault('1M'),
      })
      .prefault({}),
    discovery: z
      .enum(['auto', 'acpi', 'command-line'], { error: "'auto', 'acpi' or 'command-line'" })
      .default('auto'),
    name: z.string({ error: 'a string' }).default('vm'),
  },
  {
    error: (issue) =>
      issue.code === 'unrecognized_keys' ? 'no such option' : 'an object of options',
  },
)

/**
 * Checks what can be checked without the host's KVM and without opening anything.
 * @throws VmmError `ERR_INVALID_OPTION` naming the first option at fault (`disks[1]`), its value and what was expected.
 */
export function parseConfig(options: VirtualMachineOptions): MachineConfig {
  // With the values it has judged: a getter may give another one next time.
  const result = schema.safeParse(options, { reportInput: true })
  if (!result.success) throw optionError(result.error)
  const { console, initrd, ...config } = result.data
  if (config.disks.length + config.nets.length > MAX_DISKS_AND_NETS) {
    throw invalidOption(
      'disks',
      config.disks,
      `disks and nets together to be at most ${MAX_DISKS_AND_NETS}`,
    )
  }
  return { ...config, initrd, consoleBufferSize: console.bufferSize }
}

function optionError({ issues }: z.ZodError): VmmError {
  const issue = issues[0]!
  const unknownKey = issue.code === 'unrecognized_keys' ? issue.keys[0] : undefined
  const path = unknownKey === undefined ? issue.path : [...issue.path, unknownKey]
  const name = path.reduce<string>(
    (text, key) =>
      typeof key === 'number'
        ? `${text}[${key}]`
        : text === ''
          ? String(key)
          : `${text}.${String(key)}`,
    '',
  )
  const value =
    unknownKey === undefined
      ? issue.input
      : (issue.input as Record<string, unknown> | undefined)?.[unknownKey]
  return invalidOption(name || 'options', value, issue.message)
}

/**
 * Checks the options against what this host's KVM allows.
 * @throws VmmError `ERR_INVALID_OPTION`
 */
export function checkLimits(config: MachineConfig, maxVcpus: number): void {
  if (config.cpus > maxVcpus)
    throw invalidOption(
      'cpus',
      config.cpus,
      `at most ${maxVcpus}, which is what this host's KVM allows`,
    )
}

/** `disks[0]: …` in front of an error that opening a backend raised, so that it names the option. */
export function blameOption(option: string, error: unknown): unknown {
  if (!(error instanceof VmmError)) return error
  const name = error.option ? `${option}.${error.option}` : option
  const details: { -readonly [K in keyof ErrorDetails]: ErrorDetails[K] } = {
    option: name,
    value: error.value,
    cause: error,
  }
  if (error.expected !== undefined) details.expected = error.expected
  return new VmmError(error.code, `${option}: ${error.message}`, details)
}
