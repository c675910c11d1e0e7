import { accessSync, closeSync, constants, existsSync, openSync, readFileSync } from 'node:fs'
import { binding } from '../binding.js'

/** Something that the host may or may not have, and that a guest can do without. */
export interface HostFeature {
  /** For people. */
  readonly name: string
  /** `'forbidden'`: it is there, but not for this user. */
  readonly state: 'ready' | 'forbidden' | 'absent'
  /** What was found, in a sentence. */
  readonly detail: string
  /** What would mend it; empty if it is ready. */
  readonly remedy: string
}

/** TAP, io_uring, huge pages, vhost-net. */
export function probeHostFeatures(): HostFeature[] {
  return [
    deviceNode('TAP', '/dev/net/tun', 'network cards on TAP devices', 'modprobe tun'),
    ioUring(),
    hugePages(),
    deviceNode(
      'vhost-net',
      '/dev/vhost-net',
      'the kernel can move frames itself',
      'modprobe vhost_net',
    ),
  ]
}

function deviceNode(name: string, path: string, use: string, load: string): HostFeature {
  if (!existsSync(path)) {
    return { name, state: 'absent', detail: `${path} is not there`, remedy: `\`sudo ${load}\`` }
  }
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return { name, state: 'ready', detail: `${path}: ${use}`, remedy: '' }
  } catch {
    return {
      name,
      state: 'forbidden',
      detail: `${path} may not be opened by this user`,
      remedy: `run as root, or give this user access to ${path}`,
    }
  }
}

function ioUring(): HostFeature {
  const name = 'io_uring'
  const refused = ioUringError()
  if (refused === undefined) return { name, state: 'ready', detail: 'disks use it', remedy: '' }
  const disabled = readNumber('/proc/sys/kernel/io_uring_disabled')
  return {
    name,
    state: refused === 'ENOSYS' ? 'absent' : 'forbidden',
    detail: `the kernel says ${refused}; disks use a thread pool instead`,
    remedy: disabled
      ? '`sudo sysctl kernel.io_uring_disabled=0`'
      : 'allow io_uring_setup in the seccomp profile, or use a kernel from 5.6 on',
  }
}

/** The errno with which the kernel refuses a ring, `undefined` if it gives one. */
function ioUringError(): string | undefined {
  const { AddressSpace, BlockEngine } = binding()
  const fd = openSync('/dev/null', 'r')
  const memory = new AddressSpace()
  try {
    new BlockEngine(
      'io_uring',
      fd,
      memory,
      1,
      new Float64Array(64),
      new Int32Array(8),
      () => {},
    ).close()
    return undefined
  } catch (error) {
    return (error as { code?: string }).code ?? 'an error'
  } finally {
    memory.close()
    closeSync(fd)
  }
}

function hugePages(): HostFeature {
  const name = 'huge pages'
  const reserved = readNumber('/proc/sys/vm/nr_hugepages')
  if (reserved === undefined) {
    return {
      name,
      state: 'absent',
      detail: 'the kernel has none',
      remedy: 'use a kernel with CONFIG_HUGETLBFS',
    }
  }
  if (reserved > 0) return { name, state: 'ready', detail: `${reserved} reserved`, remedy: '' }
  return {
    name,
    state: 'absent',
    detail: 'none are reserved',
    remedy: '`sudo sysctl vm.nr_hugepages=512`',
  }
}

function readNumber(path: string): number | undefined {
  try {
    return Number(readFileSync(path, 'utf8'))
  } catch {
    return undefined
  }
}
