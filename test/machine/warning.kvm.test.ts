import { Duplex } from 'node:stream'
import { describe, expect, it } from 'vitest'
import * as mmio from '../../lib/devices/virtio/transport/virtio-mmio.js'
import {
  describeWarning,
  MemoryDisk,
  StreamNet,
  VirtualMachine,
  VirtualSwitch,
  type VmWarning,
} from '../../lib/index.js'
import * as guest from './tiny-guest.js'

const QUEUE = {
  size: 16,
  descriptorArea: 0x100_0000,
  driverArea: 0x100_1000,
  deviceArea: 0x100_2000,
}

async function warningsOf(queue: typeof QUEUE, prepare?: (vm: VirtualMachine) => void) {
  const again = guest.store(guest.register(1, mmio.VIRTIO_MMIO_QUEUE_NOTIFY), 0)
  const kernel = guest.kernel(guest.startDevice(1, queue), again, guest.echoLine)
  const disks = [new MemoryDisk(4096), new MemoryDisk(4096)]
  await using vm = await VirtualMachine.create({ kernel, memory: '32M', transport: 'mmio', disks })
  prepare?.(vm)
  const warnings: VmWarning[] = []
  const warned = new Promise<void>((resolve) =>
    vm.on('warning', (warning) => {
      warnings.push(warning)
      resolve()
    }),
  )
  await vm.start()
  await warned
  // The guest goes on.
  expect(vm.state).toBe('running')
  vm.console.input.write('\n')
  expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  return warnings
}

describe('warning', () => {
  it('tells of a queue that is not in memory', async () => {
    const warnings = await warningsOf({ ...QUEUE, deviceArea: 0x7000_0000 })
    expect(warnings).toEqual([
      {
        kind: 'device-needs-reset',
        device: 'block1',
        reason: expect.stringMatching(/^2\.7: .*\w/),
      },
    ])
  })

  it('tells of a ring that makes no sense', async () => {
    const warnings = await warningsOf(QUEUE, (vm) => {
      vm.memory.dataView(QUEUE.driverArea + 2, 2).setUint16(0, 999, true) // more than the ring holds
    })
    expect(warnings).toEqual([
      {
        kind: 'device-needs-reset',
        device: 'block1',
        reason: expect.stringMatching(/^queue 0: .*\w/),
      },
    ])
  })

  it('tells of a network card that has lost what it is plugged into', async () => {
    const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
    const nets = [new VirtualSwitch().port(), new StreamNet(stream)]
    const kernel = guest.kernel(guest.spin)
    await using vm = await VirtualMachine.create({ kernel, memory: '32M', transport: 'mmio', nets })
    const warning = new Promise<VmWarning>((resolve) => vm.once('warning', resolve))
    vm.nets[0]!.setLink(false) // which is no news to whoever did it
    stream.destroy()
    const { name } = nets[1]!
    expect(await warning).toEqual({ kind: 'link-lost', device: 'net1', backend: name })
    expect(describeWarning(await warning)).toContain('net1')
    expect(vm.nets[1]!.link).toBe(false)
  })
})
