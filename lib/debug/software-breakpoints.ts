import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { PatchedMemory } from './patched-memory.js'
import { translate } from './virtual-memory.js'

/** Breakpoints at linear addresses, each an instruction in place of the guest's own. */
export class SoftwareBreakpoints {
  /** The guest-physical addresses of the instruction's bytes: the page tables may be others when it is removed. */
  readonly #places = new Map<bigint, readonly number[]>()
  readonly #memory: PatchedMemory
  readonly #instruction: readonly number[]

  constructor(memory: PatchedMemory, instruction: readonly number[]) {
    this.#memory = memory
    this.#instruction = instruction
  }

  get size(): number {
    return this.#places.size
  }

  /**
   * Does nothing if there is one at `address`.
   * @returns false if nothing, or no memory, is mapped there by the vCPU's page tables, or a part of another is in the way
   */
  insert(vcpu: VcpuFd, address: bigint): boolean {
    if (this.#places.has(address)) return true
    const done: number[] = []
    for (const [index, byte] of this.#instruction.entries()) {
      const physical = translate(vcpu, BigInt.asUintN(64, address + BigInt(index)))
      if (physical === undefined || !this.#memory.patch(physical, byte)) {
        for (const place of done) this.#memory.restore(place)
        return false
      }
      done.push(physical)
    }
    this.#places.set(address, done)
    return true
  }

  /** Does nothing if there is none. */
  remove(address: bigint): void {
    for (const physical of this.#places.get(address) ?? []) this.#memory.restore(physical)
    this.#places.delete(address)
  }

  clear(): void {
    for (const address of [...this.#places.keys()]) this.remove(address)
  }
}
