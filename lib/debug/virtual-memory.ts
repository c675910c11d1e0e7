import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { PatchedMemory } from './patched-memory.js'

const PAGE = 4096
const END = 2n ** 64n

/** The guest-physical address of a linear one by a vCPU's present page tables. */
export function translate(vcpu: VcpuFd, address: bigint): number | undefined {
  const { valid, physical_address: physical } = vcpu.translate(address)
  // What is beyond a safe integer is no guest's memory either.
  return valid !== 0 && physical <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(physical) : undefined
}

/** The piece of each page that `[address, address + length)` touches; it ends where linear addresses do. */
function* pieces(address: bigint, length: number): Generator<{ at: bigint; length: number }> {
  const room = END - address
  let left = room < BigInt(length) ? Number(room) : length
  for (let at = address; left > 0; ) {
    const piece = Math.min(left, PAGE - Number(at % BigInt(PAGE)))
    yield { at, length: piece }
    at += BigInt(piece)
    left -= piece
  }
}

/** As much as can be read from `address` on: up to a page that is not mapped, or not to memory. */
export function readVirtual(
  vcpu: VcpuFd,
  memory: PatchedMemory,
  address: bigint,
  length: number,
): Buffer {
  const read: Uint8Array[] = []
  for (const piece of pieces(address, length)) {
    const physical = translate(vcpu, piece.at)
    const bytes = physical === undefined ? undefined : memory.read(physical, piece.length)
    if (bytes === undefined) break
    read.push(bytes)
  }
  return Buffer.concat(read)
}

/** @returns false if not all of it could be written; what lies on pages before that has been */
export function writeVirtual(
  vcpu: VcpuFd,
  memory: PatchedMemory,
  address: bigint,
  bytes: Uint8Array,
): boolean {
  let done = 0
  for (const piece of pieces(address, bytes.length)) {
    const physical = translate(vcpu, piece.at)
    const part = bytes.subarray(done, done + piece.length)
    if (physical === undefined || !memory.write(physical, part)) return false
    done += piece.length
  }
  return done === bytes.length
}
