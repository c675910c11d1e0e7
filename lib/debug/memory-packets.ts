import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { HardwareAccess } from './debug-registers.js'
import type { Debugger } from './debugger.js'
import { parseHex, parseHexNumber } from './hex.js'
import type { PatchedMemory } from './patched-memory.js'
import { EFAULT, EINVAL, ENOSPC, OK, PACKET_SIZE, UNKNOWN } from './replies.js'
import { readVirtual, writeVirtual } from './virtual-memory.js'

/** `m`, and after it the address and the length. */
export function readMemory(vcpu: VcpuFd, memory: PatchedMemory, place: string): string {
  const range = parseRange(place)
  if (range === undefined) return EINVAL
  // Two digits for each byte; a reply may have fewer than were asked for.
  const length = Math.min(range.length, PACKET_SIZE / 2)
  const bytes = readVirtual(vcpu, memory, range.address, length)
  return bytes.length === 0 && length > 0 ? EFAULT : bytes.toString('hex')
}

/** `M` and `X`: `rest` is what follows, address, length, `:` and `bytes`, which are `undefined` if they are none. */
export function writeMemory(
  vcpu: VcpuFd,
  memory: PatchedMemory,
  rest: string,
  bytes: Uint8Array | undefined,
): string {
  const range = parseRange(rest.slice(0, rest.indexOf(':')))
  if (range === undefined || bytes?.length !== range.length) return EINVAL
  return writeVirtual(vcpu, memory, range.address, bytes) ? OK : EFAULT
}

/** `Z` and `z`: type, address, kind, which is a length for watchpoints. Conditions and commands are left to GDB. */
export function changePoint(vcpu: VcpuFd, debug: Debugger, packet: string): string {
  const [, letter, type = '', ...place] = /^([Zz])(\d),([\da-f]+),([\da-f]+)$/i.exec(packet) ?? []
  const range = parseRange(place.join(','))
  if (range === undefined) return EINVAL
  const { breakpoints, registers, support } = debug
  if (type === '0') {
    if (letter === 'Z') return breakpoints.insert(vcpu, range.address) ? OK : EFAULT
    breakpoints.remove(range.address)
    return OK
  }
  const access = HARDWARE_ACCESS[type]
  const usable = access === 'execute' ? support.hardwareBreakpoints : support.watchpoints
  if (access === undefined || !usable) return UNKNOWN
  const length = access === 'execute' ? 1 : range.length
  const point = { access, address: range.address, length }
  if (letter === 'Z') return registers.insert(point) ? OK : ENOSPC
  registers.remove(point)
  return OK
}

const HARDWARE_ACCESS: Readonly<Record<string, HardwareAccess>> = {
  1: 'execute',
  2: 'write',
  3: 'read',
  4: 'read-write',
}

function parseRange(text: string): { address: bigint; length: number } | undefined {
  const [start, size, ...more] = text.split(',')
  const address = parseHex(start)
  const length = parseHexNumber(size)
  if (address === undefined || length === undefined || more.length > 0) return undefined
  return { address, length }
}
