import { createRequire } from 'node:module'
import type { NativeBlockEngine } from './binding/block-engine.js'
import type { NativeExitChannel } from './binding/exit-channel.js'
import type { IoctlEntry, NativeEventFd, NativeKvm } from './binding/fds.js'
import type { MappingOptions, NativeAddressSpace, NativeMapping } from './binding/memory.js'
import type { NativeTap, NativeVhostNet } from './binding/net.js'
import { KvmError, VmmError } from './errors.js'
import { packageRoot } from './util/package-root.js'

export type * from './binding/block-engine.js'
export type * from './binding/exit-channel.js'
export type * from './binding/fds.js'
export type * from './binding/memory.js'
export type * from './binding/net.js'

/** The type of the addon. Each class is documented where TypeScript wraps it. */
export interface Binding {
  /** Tells the addon how to build the errors it throws. */
  setErrorClasses(kvmError: typeof KvmError, vmmError: typeof VmmError): void
  Kvm: new (path: string) => NativeKvm
  EventFd: new () => NativeEventFd
  Mapping: new (size: number, options?: MappingOptions) => NativeMapping
  /** Another hold on a mapping that some thread of this process made, undefined if it is gone. */
  findMapping(id: number): NativeMapping | undefined
  /** `native/ioctl_table.h`: every ioctl the addon knows. */
  ioctls(): IoctlEntry[]
  AddressSpace: new () => NativeAddressSpace
  ExitChannel: new () => NativeExitChannel
  BlockEngine: new (
    kind: 'io_uring' | 'threads',
    fd: number,
    memory: NativeAddressSpace,
    tags: number,
    requests: Float64Array,
    completions: Int32Array,
    onCompletions: (count: number) => void,
  ) => NativeBlockEngine
  VhostNet: new () => NativeVhostNet
  /** Unless `create`, an interface of that name must exist. */
  Tap: new (
    name: string,
    create: boolean,
    multiQueue: boolean,
    fd?: number,
  ) => NativeTap
  /** SIOCSIF* on a network interface. */
  configureInterface(name: string, what: 'up', on: boolean): void
  configureInterface(name: string, what: 'mtu', bytes: number): void
  configureInterface(name: string, what: 'address', address: string, prefixLength: number): void
  configureInterface(name: string, what: 'bridge', bridge: string): void
  /** 0, or the errno: EAGAIN if another open file description holds a lock that excludes this one. */
  lockFile(fd: number, exclusive: boolean): number
  /** A descriptor of new, empty memory of that many bytes as a file (memfd). The caller closes it. */
  memoryFile(size: number): number
  /** Bytes, of a block device too. */
  fileSize(fd: number): number
  /** Whether fallocate can punch holes in the file; `end` is its size. */
  fallocateWorks(fd: number, end: number): boolean
}

let loaded: Binding | undefined

/**
 * The addon, loaded on first use, so that importing node-kvm never fails.
 * @throws VmmError `ERR_PLATFORM` on another OS or CPU, `ERR_ADDON` if the addon is neither prebuilt nor built.
 */
export function binding(): Binding {
  if (loaded) return loaded
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new VmmError(
      'ERR_PLATFORM',
      `node-kvm needs Linux on x86-64, this is ${process.platform} on ${process.arch}`,
    )
  }
  const require = createRequire(import.meta.url)
  try {
    const load = require('node-gyp-build') as (directory: string) => Binding
    loaded = load(packageRoot())
  } catch (cause) {
    throw new VmmError(
      'ERR_ADDON',
      'the native addon is not there: run `npm rebuild node-kvm` (needs python3, make and g++)',
      { cause },
    )
  }
  loaded.setErrorClasses(KvmError, VmmError)
  return loaded
}
