/** A system call on behalf of a virtual machine that the kernel refused, shaped like Node's own system errors. */
export class KvmError extends Error {
  /** Tells it from other errors. */
  override readonly name = 'KvmError'
  constructor(
    /** The errno's name, such as `'EEXIST'`. */
    readonly code: string,
    /** The positive errno. */
    readonly errno: number,
    /** The ioctl or system call, such as `'KVM_CREATE_VCPU'` or `'mmap'`. */
    readonly syscall: string,
    detail?: string,
  ) {
    super(`${syscall}: ${code}${detail ? `, ${detail}` : ''}`)
  }
}

/** Every error that node-kvm raises of its own, by code. The message is completed by {@link VmmError}. */
export const errorCodes = {
  ERR_INVALID_OPTION: 'an option or argument has a value that cannot be used',
  ERR_OUT_OF_RANGE: 'a guest address, offset or length lies outside what it must lie in',
  ERR_CLOSED: 'the object has been closed',
  ERR_STATE: 'the method does not apply in the present state',
  ERR_VCPU_RUNNING: 'the vCPU is inside KVM_RUN on another thread',
  ERR_KVM_ABSENT: '/dev/kvm does not exist',
  ERR_KVM_FORBIDDEN: '/dev/kvm may not be opened by this user',
  ERR_KVM_UNSUPPORTED: 'this KVM lacks something that is needed',
  ERR_PLATFORM: 'node-kvm runs on Linux on x86-64 only',
  ERR_ADDON: 'the native addon could not be loaded',
  ERR_KERNEL_IMAGE: 'the kernel image cannot be booted',
  ERR_FIRMWARE: 'the firmware cannot be used',
  ERR_INITRD: 'the initrd cannot be placed',
  ERR_COMMAND_LINE: 'the kernel command line cannot be passed on',
  ERR_DISK: 'the disk image cannot be used',
  ERR_NET: 'the network backend cannot be used',
  ERR_BUS_CONFLICT: 'two devices claim one address',
  ERR_PCI_SLOTS: 'every slot of the PCI bus is taken',
  ERR_DEVICE: 'a device model failed',
  ERR_GUEST: 'the guest did what no device model can go on from',
  ERR_BOOT_TEST: 'a boot test failed',
  ERR_TIMEOUT: 'a time limit passed',
  ERR_MISSING_PROGRAM: 'a program that is needed is not installed',
  ERR_ASSET: 'a guest asset could not be fetched or failed its check',
  ERR_AGENT: 'the agent in the guest cannot be reached',
  ERR_AGENT_VERSION: 'the agent in the guest is of another version',
  ERR_AGENT_PROTOCOL: 'what calls itself the agent in the guest broke the protocol',
  ERR_EXEC: 'a program could not be started in the guest',
  ERR_GUEST_FILE: 'a file of the guest could not be read or written',
  ERR_MAX_BUFFER: 'there was more output than maxBuffer allows to collect',
  ERR_ROOTFS: 'the root file system cannot be used',
  ERR_ISOLATION: 'the process of an isolated machine failed',
  ERR_EMULATED_HOST: 'the emulated KVM host failed',
} as const

/** A code of {@link errorCodes}. */
export type ErrorCode = keyof typeof errorCodes

/** What an error is about, in a form that a program can use. */
export interface ErrorDetails {
  /** The option, argument or field that is at fault: `'memory'`, `'disks[0].path'`. */
  readonly option?: string
  /** The value that was given. */
  readonly value?: unknown
  /** What would have been accepted, in words: `'a multiple of 4096 from 1 MiB to 1 TiB'`. */
  readonly expected?: string
  /** What went wrong below. */
  readonly cause?: unknown
}

/** An error of node-kvm's own. `code` is one of {@link errorCodes}; the message names the value and what was expected. */
export class VmmError extends Error {
  /** Tells it from other errors. */
  override readonly name = 'VmmError'
  /** The option at fault, as a path: `'disks[0].queues'`. */
  readonly option: string | undefined
  /** What it was. */
  readonly value: unknown
  /** What was expected of it, in words. */
  readonly expected: string | undefined
  constructor(
    /** What kind of error it is. */
    readonly code: ErrorCode,
    message: string,
    details: ErrorDetails = {},
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.option = details.option
    this.value = details.value
    this.expected = details.expected
  }
}

/** `invalidOption('cpus', 0, 'an integer from 1 to 8')`: the commonest error, in one form everywhere. */
export function invalidOption(option: string, value: unknown, expected: string): VmmError {
  return new VmmError(
    'ERR_INVALID_OPTION',
    `${option}: expected ${expected}, got ${describe(value)}`,
    {
      option,
      value,
      expected,
    },
  )
}

/** A value as an error message shows it: short, on one line, and safe for any value. */
export function describe(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length > 80 ? `${value.slice(0, 77)}...` : value)
  if (typeof value === 'bigint') return `${value}n`
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null)
    return Array.isArray(value) ? 'an array' : 'an object'
  return String(value)
}

/** What was thrown, which need not be an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}
