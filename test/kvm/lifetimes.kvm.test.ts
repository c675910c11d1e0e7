import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { beforeAll, describe, expect, it } from 'vitest'
import { binding, type NativeEventFd } from '../../lib/binding.js'
import { createGuestMemory, EventFd, KVM_EXIT_HLT, Kvm } from '../../lib/kvm.js'
import { holdAnchor, payload, runToReason, tinyVm, toRealMode } from '../helpers/payloads.js'
import {
  collect,
  foreignEnvironment,
  limit,
  mappings,
  openFds,
  PATIENCE,
  slow,
  threads,
  workerPrelude,
} from '../helpers/process-state.js'

// Before anything is counted.
beforeAll(holdAnchor)

const closed = expect.objectContaining({ name: 'VmmError', code: 'ERR_CLOSED' })

describe('close', () => {
  it('may be called again on every class', () => {
    const { kvm, vm, vcpu, memory } = tinyVm(payload.hlt)
    const event = new EventFd()
    for (const object of [event, vcpu, vm, memory, kvm]) {
      object.close()
      object.close()
      expect(object.closed).toBe(true)
    }
  })

  it('makes every method raise ERR_CLOSED', () => {
    const { kvm, vm, vcpu, memory } = tinyVm(payload.hlt)
    const event = new EventFd()
    for (const object of [event, vcpu, vm, memory, kvm]) object.close()
    expect(() => kvm.getApiVersion()).toThrow(closed)
    expect(() => kvm.createVm()).toThrow(closed)
    expect(() => kvm.native.deviceAttr(0, 0, 0, 0)).toThrow(closed)
    expect(() => vm.createVcpu(1)).toThrow(closed)
    expect(() => vm.irqLine(1, true)).toThrow(closed)
    expect(() => vm.irqfd(event, 1)).toThrow(closed)
    expect(() => vcpu.run()).toThrow(closed)
    expect(() => vcpu.getRegs()).toThrow(closed)
    expect(() => vcpu.runPage.exit()).toThrow(closed)
    expect(() => vcpu.native.runPage).toThrow(closed)
    expect(() => event.signal()).toThrow(closed)
    expect(() => event.take()).toThrow(closed)
    expect(() => event.watch(() => {})).toThrow(closed)
    expect(() => memory.read(0, 1)).toThrow(closed)
    expect(() => memory.regions[0]!.mapping.buffer(0, 1)).toThrow(closed)
    expect([kvm.fd, vm.fd, vcpu.fd, event.fd]).toEqual([-1, -1, -1, -1])
  })

  it('refuses a closed object as an argument', () => {
    using tiny = tinyVm(payload.hlt, { prepare: (vm) => vm.createIrqchip() })
    const event = new EventFd()
    event.close()
    expect(() => tiny.vm.irqfd(event, 1)).toThrow(closed)
    expect(() => tiny.vm.ioeventfd(event, { space: 'pio', address: 1, length: 1 })).toThrow(closed)
    const { mapping } = createGuestMemory([{ guestAddress: 0, size: 4096 }]).regions[0]!
    mapping.close()
    expect(() =>
      tiny.vm.setUserMemoryRegion({ slot: 1, guestAddress: 0x100000, size: 4096, mapping }),
    ).toThrow(closed)
  })

  it('of the VM leaves its vCPUs running', () => {
    const { kvm, vm, vcpu, memory } = tinyVm(payload.hlt)
    vm.close()
    kvm.close()
    memory.close()
    expect(runToReason(vcpu)).toBe(KVM_EXIT_HLT)
    vcpu.close()
  })

  it('detaches every view of a vCPU and of guest memory', () => {
    const { kvm, vm, vcpu, memory } = tinyVm(payload.hlt)
    const { bytes, view } = vcpu.runPage
    const guest = memory.view(0, 16)
    const guestView = memory.dataView(0, 16)
    for (const object of [vcpu, vm, memory, kvm]) object.close()
    expect([bytes.byteLength, guest.byteLength]).toEqual([0, 0])
    expect(() => view.getUint8(0)).toThrow(TypeError)
    expect(() => guestView.getUint8(0)).toThrow(TypeError)
    expect(() => Atomics.load(guest, 0)).toThrow(TypeError)
  })
})

describe('memory', () => {
  it('stays while a slot uses it and goes with the last descriptor of the VM', async () => {
    const kvm = Kvm.open()
    const vm = kvm.createVm()
    const memory = createGuestMemory([{ guestAddress: 0, size: 0x10000 }], {
      name: 'lifetime-slot',
    })
    memory.register(vm)
    memory.write(0x1000, Uint8Array.from(payload.hlt))
    const vcpu = vm.createVcpu(0)
    toRealMode(vcpu)
    memory.close()
    expect(mappings('lifetime-slot')).toBe(1)
    expect(runToReason(vcpu)).toBe(KVM_EXIT_HLT)
    vm.close()
    expect(mappings('lifetime-slot')).toBe(1)
    vcpu.close()
    kvm.close()
    expect(mappings('lifetime-slot')).toBe(0)
  })

  it('goes when its slot is deleted', () => {
    using kvm = Kvm.open()
    using vm = kvm.createVm()
    const memory = createGuestMemory([{ guestAddress: 0, size: 0x10000 }], {
      name: 'lifetime-delete',
    })
    memory.register(vm, 3)
    memory.close()
    expect(mappings('lifetime-delete')).toBe(1)
    vm.setUserMemoryRegion({ slot: 3, guestAddress: 0, size: 0 })
    expect(mappings('lifetime-delete')).toBe(0)
  })

  it('is shared by two threads and outlives the one that made it', async () => {
    const name = 'lifetime-shared'
    const worker = new Worker(
      `${workerPrelude}
      const mapping = new binding.Mapping(65536, { name: ${JSON.stringify(name)} })
      const bytes = new Uint8Array(mapping.buffer(0, 65536))
      bytes[7] = 77
      parentPort.postMessage(mapping.id)
      parentPort.once('message', () => parentPort.postMessage(bytes[8]))`,
      { eval: true },
    )
    const [id] = (await once(worker, 'message')) as [number]
    const mapping = binding().findMapping(id)!
    const bytes = new Uint8Array(mapping.buffer(0, 65536))
    expect(bytes[7]).toBe(77)
    bytes[8] = 88
    worker.postMessage('')
    expect(await once(worker, 'message')).toEqual([88])
    await worker.terminate()
    bytes[9] = 99
    expect([bytes[7], bytes[9]]).toEqual([77, 99])
    expect(mappings(name)).toBe(1)
    mapping.close()
    expect(bytes.byteLength).toBe(0)
    expect(mappings(name)).toBe(0)
    expect(binding().findMapping(id)).toBeUndefined()
  })

  it('stays while a view of it that was never detached lives, and goes with the view', async () => {
    const name = 'lifetime-view'
    let view: Uint8Array | undefined
    ;(() => {
      const mapping = new (binding().Mapping)(4096, { name })
      view = new Uint8Array(mapping.buffer(0, 4096))
    })()
    expect(await collect(() => mappings(name) === 0, 5)).toBe(false)
    view[0] = 1
    expect(view[0]).toBe(1)
    view = undefined
    expect(await collect(() => mappings(name) === 0)).toBe(true)
  })

  it('cannot be transferred away', () => {
    using tiny = tinyVm(payload.hlt)
    const { buffer } = tiny.memory.regions[0]!
    try {
      // Node 20 makes a copy instead, later versions refuse.
      structuredClone(buffer, { transfer: [buffer] })
    } catch (error) {
      expect(error).toMatchObject({ name: 'DataCloneError' })
    }
    expect(buffer.byteLength).toBe(0x10000)
  })

  it('is not inherited by a child process', () => {
    using tiny = tinyVm(payload.hlt)
    const event = new EventFd()
    const script = 'ls -l /proc/self/fd; cat /proc/self/maps'
    const seen = execFileSync('/bin/sh', ['-c', script], {
      encoding: 'utf8',
      env: foreignEnvironment,
    })
    event.close()
    expect(tiny.vm.fd).toBeGreaterThan(0)
    expect(seen).not.toMatch(/kvm|eventfd|node-kvm/)
  })
})

describe('growth', () => {
  it('is nil in descriptors, threads and mappings over many cycles', () => {
    const cycle = () => {
      using tiny = tinyVm(payload.hlt, { prepare: (vm) => vm.createIrqchip() })
      using event = new EventFd()
      tiny.vm.irqfd(event, 5)
      tiny.vcpu.getRegs()
    }
    for (let i = 0; i < 10; i++) cycle()
    const before = [openFds(), threads(), mappings('node-kvm'), mappings('kvm-vcpu')]
    for (let i = 0; i < (slow ? 100 : 1000); i++) cycle()
    expect([openFds(), threads(), mappings('node-kvm'), mappings('kvm-vcpu')]).toEqual(before)
  })

  it('is undone by finalizers when nothing was closed', async () => {
    const before = openFds()
    ;(() => {
      for (let i = 0; i < 50; i++) {
        tinyVm(payload.hlt)
        new EventFd()
      }
    })()
    expect(openFds()).toBeGreaterThan(before + 200)
    expect(await collect(() => openFds() <= before)).toBe(true)
  })

  it('is nil when creation fails half-way', () => {
    const before = [openFds(), mappings('node-kvm')]
    for (let i = 0; i < 20; i++) {
      expect(() =>
        createGuestMemory([
          { guestAddress: 0, size: 4096 },
          { guestAddress: 0, size: 4096 },
        ]),
      ).toThrow('overlap')
      expect(() =>
        createGuestMemory([
          { guestAddress: 0, size: 4096 },
          { guestAddress: 1, size: 4096 },
        ]),
      ).toThrow()
      expect(() => Kvm.open('/dev/null')).toThrow('/dev/null is not the KVM device')
      using kvm = Kvm.open()
      expect(() => kvm.createVm(77)).toThrow('KVM_CREATE_VM')
      using vm = kvm.createVm()
      using _vcpu = vm.createVcpu(0)
      expect(() => vm.createVcpu(0)).toThrow(
        expect.objectContaining({ code: 'EEXIST', syscall: 'KVM_CREATE_VCPU' }),
      )
    }
    expect([openFds(), mappings('node-kvm')]).toEqual(before)
  })
})

describe('a foreign object', () => {
  it('is refused as `this` and as an argument, with a TypeError', () => {
    using tiny = tinyVm(payload.hlt)
    using event = new EventFd()
    const { Kvm: NativeKvm, Mapping, EventFd: NativeEventFd, AddressSpace } = binding()
    const mapping = new Mapping(4096)
    const foreign = [
      event.native,
      tiny.vm.native,
      mapping,
      {},
      Object.create(NativeEventFd.prototype),
      null,
      7,
    ]
    for (const self of foreign) {
      expect(() => NativeKvm.prototype.createVm.call(self as never, 0)).toThrow(TypeError)
      expect(() => tiny.vcpu.native.ioctl.call(self as never, 0)).toThrow(TypeError)
    }
    for (const argument of [event.native, {}, 7, Object.create(Mapping.prototype), undefined]) {
      expect(() => new AddressSpace().add(0, 4096, argument as never, 0)).toThrow(TypeError)
    }
    expect(() => tiny.vm.native.irqfd(mapping as never, 1, 0, null)).toThrow(TypeError)
    // biome-ignore lint/suspicious/noExplicitAny: a class called as what it is not.
    expect(() => (NativeEventFd as any)()).toThrow(TypeError)
    const Vm = tiny.vm.native.constructor as new () => unknown
    expect(() => new Vm()).toThrow(TypeError)
    expect(() => Reflect.construct(Object, [], Vm)).not.toThrow()
    mapping.close()
  })

  it('that claims an object by its prototype is refused', () => {
    const { EventFd: EventFdClass } = binding()
    const fake = Reflect.construct(Object, [], EventFdClass) as NativeEventFd
    expect(() => fake.signal()).toThrow(TypeError)
    expect(() => fake.fd).toThrow(TypeError)
  })
})

describe('worker.terminate()', () => {
  const setup = `${workerPrelude}
    const kvm = new binding.Kvm('/dev/kvm')
    const vm = kvm.createVm(0)
    const mapping = new binding.Mapping(65536, { name: 'lifetime-worker' })
    const bytes = new Uint8Array(mapping.buffer(0, 65536))
    vm.setUserMemoryRegion(0, 0, 0, 65536, mapping, 0)
    bytes.set([0xeb, 0xfe], 0x1000)
    const vcpu = vm.createVcpu(0)
    const sregs = new Uint8Array(312)
    vcpu.ioctl(ioctls.KVM_GET_SREGS, sregs)
    sregs.fill(0, 0, 8)
    sregs.fill(0, 12, 14)
    vcpu.ioctl(ioctls.KVM_SET_SREGS, sregs)
    const regs = new BigUint64Array(18)
    regs[16] = 0x1000n
    regs[17] = 2n
    vcpu.ioctl(ioctls.KVM_SET_REGS, new Uint8Array(regs.buffer))
    const event = new binding.EventFd()
    event.ref()
    event.watch(() => {})
    // As VcpuFd.run() does: V8 looks for a termination request where a JavaScript function is entered.
    const runOnce = () => vcpu.run()
    const run = () => { for (;;) runOnce() }
  `

  it('gives back everything that was open', async () => {
    const before = openFds()
    for (let i = 0; i < (slow ? 5 : 20); i++) {
      const worker = new Worker(`${setup}; parentPort.postMessage('ready')`, { eval: true })
      await once(worker, 'message')
      await worker.terminate()
    }
    expect(openFds()).toBeLessThanOrEqual(before)
    expect(mappings('lifetime-worker')).toBe(0)
  })

  it.each([
    ['never exits', ''],
    ['always exits', 'bytes.set([0xe6, 0x10, 0xeb, 0xfc], 0x1000)'],
  ])('ends a worker whose guest %s', async (_, program) => {
    const before = openFds()
    for (let i = 0; i < 5; i++) {
      const worker = new Worker(`${setup}; ${program}; parentPort.postMessage('ready'); run()`, {
        eval: true,
      })
      await once(worker, 'message')
      await sleep(i * 20)
      await worker.terminate()
    }
    expect(openFds()).toBeLessThanOrEqual(before)
    expect(mappings('lifetime-worker')).toBe(0)
  })

  it('is not needed for process.exit() while a worker runs a guest', () => {
    const script = `
      const { Worker } = require('node:worker_threads')
      const worker = new Worker(${JSON.stringify(`${setup}; parentPort.postMessage('ready'); run()`)}, { eval: true })
      worker.once('message', () => process.exit(42))`
    const cwd = new URL('../..', import.meta.url)
    expect(() =>
      execFileSync(process.execPath, ['-e', script], { cwd, timeout: limit(PATIENCE) }),
    ).toThrow(expect.objectContaining({ status: 42 }))
  })
})
