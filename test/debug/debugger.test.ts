import { beforeEach, describe, expect, it } from 'vitest'
import type { DebugSupport } from '../../lib/debug/debug-support.js'
import type { DebugObserver, DebugTarget } from '../../lib/debug/debug-target.js'
import { Debugger, type Stop } from '../../lib/debug/debugger.js'
import * as K from '../../lib/kvm/abi/vcpu-state.js'
import type { VcpuFd } from '../../lib/kvm/vcpu-fd.js'
import { GuestMemory } from '../../lib/memory/guest-memory.js'
import { plainRegion } from '../../lib/memory/guest-region.js'

// The KVMs at hand, one in software and one on an emulated processor, exit at neither INT3 nor watchpoints.

const ALL: DebugSupport = {
  int3: true,
  hardwareBreakpoints: true,
  watchpoints: true,
  blockIrq: false,
}

/** Two vCPUs whose memory is mapped to itself. They run no code: the test says what exits they make. */
class FakeTarget implements DebugTarget {
  readonly memory = new GuestMemory([plainRegion(0, 0x10000)])
  readonly controls: number[] = [0, 0]
  observer: DebugObserver | undefined
  running: readonly number[] | undefined
  readonly ended = false
  readonly vcpus = [0, 1].map((index) => this.#vcpu(index))

  observe(observer: DebugObserver | undefined): void {
    this.observer = observer
  }
  async hold(): Promise<void> {
    this.running = undefined
  }
  release(vcpus: readonly number[] = [0, 1]): void {
    this.running = vcpus
  }
  watchPort(): () => void {
    throw new Error('INT3 exits')
  }
  kill(): void {}
  async reset(): Promise<void> {}

  #vcpu(index: number): VcpuFd {
    const vcpu = {
      translate: (address: bigint) => ({
        valid: address < 0x10000n ? 1 : 0,
        // Seen at two places.
        physical_address: address % 0x8000n,
      }),
      setGuestDebug: ({ control }: { control: number }) => {
        this.controls[index] = control
      },
    }
    return vcpu as unknown as VcpuFd
  }
}

const DR6_NONE = 0xffff_0ff0n
const int3 = (pc: bigint) => ({ exception: 3, pc, dr6: DR6_NONE })
const db = (bits: bigint, pc = 0x1000n) => ({ exception: 1, pc, dr6: DR6_NONE | bits })
const everyone = new Map([
  [0, 'continue'],
  [1, 'continue'],
] as const)

let target: FakeTarget
let stops: Stop[]
let debug: Debugger
const settled = () => new Promise((resolve) => setImmediate(resolve))

beforeEach(async () => {
  target = new FakeTarget()
  stops = []
  debug = await Debugger.attach(target, ALL, (stop) => stops.push(stop))
})

describe('INT3', () => {
  it('of a breakpoint stops the guest, wherever the code is mapped', async () => {
    debug.breakpoints.insert(target.vcpus[0]!, 0x1000n)
    expect(target.memory.read(0x1000, 1)).toEqual(Uint8Array.of(0xcc))
    for (const pc of [0x1000n, 0x9000n]) {
      debug.resume(everyone)
      expect(target.controls).toEqual([0x10001, 0x10001])
      target.observer!.debugExit(1, int3(pc))
      expect(target.running).toBeUndefined()
      await settled()
      expect(stops.pop()).toEqual({ kind: 'software-breakpoint', vcpu: 1 })
    }
  })

  it("of the guest's own is the guest's", async () => {
    debug.breakpoints.insert(target.vcpus[0]!, 0x1000n)
    debug.resume(everyone)
    target.observer!.debugExit(1, int3(0x1001n))
    await settled()
    expect(stops).toEqual([])
    expect(target.running).toEqual([0, 1])
    expect(target.controls[1]).toBe(0x10001 | K.KVM_GUESTDBG_INJECT_BP)
  })
})

describe('#DB', () => {
  const watch = { access: 'read-write', address: 0x2000n, length: 4 } as const

  it('of a watchpoint stops the guest', async () => {
    debug.registers.insert(watch)
    debug.resume(everyone)
    expect(target.controls).toEqual([0x20001, 0x20001])
    target.observer!.debugExit(0, db(1n))
    await settled()
    const { access, address } = watch
    expect(stops).toEqual([{ kind: 'watchpoint', vcpu: 0, access, address }])
  })

  it('of two vCPUs at once is told of one after the other', async () => {
    debug.registers.insert(watch)
    debug.resume(everyone)
    target.observer!.debugExit(0, db(1n))
    target.observer!.debugExit(1, db(1n))
    await settled()
    expect(stops).toMatchObject([{ vcpu: 0 }])
    debug.resume(everyone)
    expect(stops).toMatchObject([{ vcpu: 0 }, { vcpu: 1 }])
    expect(target.running).toBeUndefined()
    debug.resume(everyone)
    expect(target.running).toEqual([0, 1])
  })

  it("of a step that nobody asked for, or of nothing known, is the guest's", async () => {
    debug.registers.insert(watch)
    debug.resume(everyone)
    for (const bits of [1n << 14n, 0n, 8n]) {
      target.controls[0] = 0
      target.observer!.debugExit(0, db(bits))
      expect(target.controls[0]).toBe(0x20001 | K.KVM_GUESTDBG_INJECT_DB)
    }
    await settled()
    expect(stops).toEqual([])
  })

  it('of a step stops the guest', async () => {
    debug.resume(new Map([[1, 'step']]))
    expect(target.controls).toEqual([0, 3])
    expect(target.running).toEqual([1])
    target.observer!.debugExit(1, db(1n << 14n))
    await settled()
    expect(stops).toEqual([{ kind: 'step', vcpu: 1 }])
  })
})

it('detaching while the guest runs takes everything out', async () => {
  debug.breakpoints.insert(target.vcpus[0]!, 0x1000n)
  debug.registers.insert({ access: 'execute', address: 0x3000n, length: 1 })
  debug.resume(everyone)
  const detached = debug.detach()
  // One that was under way.
  target.observer!.debugExit(0, int3(0x1000n))
  await detached
  expect(target.memory.read(0x1000, 1)).toEqual(Uint8Array.of(0))
  expect(target.controls).toEqual([0, 0])
  expect(target.running).toEqual([0, 1])
  expect(target.observer).toBeUndefined()
  expect(stops).toEqual([])
})

it('the end of the guest is told of once', async () => {
  debug.resume(everyone)
  target.observer!.ended('crashed')
  target.observer!.ended('crashed')
  await settled()
  expect(stops).toEqual([{ kind: 'ended', status: 'crashed' }])
})
