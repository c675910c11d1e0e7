import type { BlockBackend } from '../backends/block/block-backend.js'
import type { NetBackend } from '../backends/net/net-backend.js'
import { checkRateLimit, type RateLimit } from '../devices/virtio/rate-limiter.js'
import { invalidOption } from '../errors.js'
import * as check from './option-checks.js'

/** A disk with more to say of it than what is in it. */
export interface DiskOptions {
  /** The disk: `new FileDisk(path)` and its like. */
  backend: BlockBackend
  /** Request queues, 1 to 16, of which a guest uses as many as it has vCPUs. 1 unless told. */
  queues?: number
  /** Requests and bytes per second, reads and writes together. No limit unless told. */
  rateLimit?: RateLimit
  /**
   * How long at least to look for the guest's next request before waiting for its kick, where that has paid before: 0
   * (never) to 1000 microseconds. 20 unless told. Where a request takes longer than an eighth of it to serve, as in an
   * emulator, eight times as long as that, but not longer than 1000 microseconds.
   */
  pollMicroseconds?: number
}

/** A network card with more to say of it than what it is plugged into. */
export interface NetOptions {
  /** What it is plugged into: `new Tap(name)` and its like. */
  backend: NetBackend
  /** Frames and bytes per second that the guest sends. No limit unless told. */
  transmitLimit?: RateLimit
  /** Frames and bytes per second to the guest. What is over it waits in the backend, or is lost there. No limit unless told. */
  receiveLimit?: RateLimit
  /** Whether the cable is plugged in from the start. `true` unless told. */
  link?: boolean
}

/** A virtio console: the guest's `hvc0`, and ports for programs in it. */
export interface VirtioConsoleDeviceOptions {
  /** Names of ports, each `/dev/virtio-ports/NAME` in the guest: up to 30, of 1 to 64 printable ASCII characters. */
  ports?: readonly string[]
}

/** A folder that the guest shares: `mount -t virtiofs TAG /mnt` there. */
export interface ShareOptions {
  /** What the guest mounts it by: 1 to 36 bytes, no two alike. */
  tag: string
  /** The folder. The guest reaches nothing outside it, and acts with this process's rights. */
  path: string
  /** The guest can change nothing. `false` unless told. */
  readOnly?: boolean
}

/** The agent in the guest. */
export interface AgentOptions {
  /** Milliseconds for which what needs the agent waits for it to connect. A minute unless told. */
  startTimeout?: number
}

/** A memory balloon. */
export interface BalloonOptions {
  /** Let the guest take memory back from the balloon when it would run out otherwise. `true` unless told. */
  deflateOnOom?: boolean
}

const properties = check.value<Readonly<Record<string, unknown>>>(
  'an object of options',
  (given) => typeof given === 'object' && given !== null && !Array.isArray(given),
)

const isBackend = (given: unknown) =>
  typeof given === 'object' &&
  given !== null &&
  typeof (given as { open?: unknown }).open === 'function'

/** A backend, or an object that has one as its `backend`, and more. */
function backendOr<T>(expected: string, options: check.Check<T>): check.Check<T> {
  return (given, name) => {
    if (isBackend(given)) return options({ backend: given }, name)
    if (typeof given !== 'object' || given === null || !('backend' in given)) {
      throw invalidOption(name, given, expected)
    }
    return options(properties(given, name), name)
  }
}

const DISK = 'a disk, such as new FileDisk(path)'
const NET = 'a network backend, such as new Tap(name)'

const disk = check.object({
  backend: check.value<BlockBackend>(DISK, isBackend),
  queues: check.withDefault(check.integer(1, 16), 1),
  rateLimit: check.optional(checkRateLimit),
  pollMicroseconds: check.withDefault(check.integer(0, 1000), 20),
})

const net = check.object({
  backend: check.value<NetBackend>(NET, isBackend),
  transmitLimit: check.optional(checkRateLimit),
  receiveLimit: check.optional(checkRateLimit),
  link: check.withDefault(check.boolean, true),
})

/** A {@link DiskOptions}, checked and completed. */
export type DiskConfig = Readonly<ReturnType<typeof disk>>
/** A {@link NetOptions}, checked and completed. */
export type NetConfig = Readonly<ReturnType<typeof net>>

export const checkDisk: check.Check<DiskConfig> = backendOr(
  `${DISK}, or { backend: … } with its options`,
  disk,
)
export const checkNet: check.Check<NetConfig> = backendOr(
  `${NET}, or { backend: … } with its options`,
  net,
)
export const checkDisks: check.Check<readonly DiskConfig[]> = check.list(
  'an array of disks',
  checkDisk,
)
export const checkNets: check.Check<readonly NetConfig[]> = check.list(
  'an array of network backends',
  checkNet,
)

const portName = check.value<string>(
  'a name of 1 to 64 printable ASCII characters',
  (name) => typeof name === 'string' && /^[\x21-\x7e]{1,64}$/.test(name),
)
const portNames: check.Check<readonly string[]> = (given, name) => {
  const names = check.list('an array of names', portName)(given, name)
  if (names.length > 30 || new Set(names).size < names.length) {
    throw invalidOption(name, given, 'at most 30 names, no two alike')
  }
  return names
}

export const checkVirtioConsole = check.object({ ports: check.withDefault(portNames, []) })
export const checkBalloon = check.object({ deflateOnOom: check.withDefault(check.boolean, true) })

const agentOptions = check.object({
  startTimeout: check.withDefault(check.integer(1, 2 ** 31 - 1), 60_000),
})
export const checkAgent: check.Check<Readonly<ReturnType<typeof agentOptions>> | undefined> = (
  given,
  name,
) => (given === false ? undefined : agentOptions(given === true ? {} : given, name))

const share = check.object({
  tag: check.value<string>(
    'a name of 1 to 36 bytes without NUL',
    (tag) =>
      typeof tag === 'string' && tag !== '' && !tag.includes('\0') && Buffer.byteLength(tag) <= 36,
  ),
  path: check.value<string>(
    'the path of a folder',
    (path) => typeof path === 'string' && path !== '' && !path.includes('\0'),
  ),
  readOnly: check.withDefault(check.boolean, false),
})
/** A {@link ShareOptions}, checked and completed. */
export type ShareConfig = Readonly<ReturnType<typeof share>>

export const checkShares: check.Check<readonly ShareConfig[]> = (given, name) => {
  const shares = check.list('an array of folders to share', share)(given, name)
  const tags = new Set(shares.map(({ tag }) => tag))
  if (tags.size < shares.length) throw invalidOption(name, given, 'tags, no two alike')
  return shares
}
