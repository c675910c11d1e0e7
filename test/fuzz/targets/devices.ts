import { CustomDisk } from '../../../lib/backends/block/custom-disk.js'
import { VirtualSwitch } from '../../../lib/backends/net/virtual-switch.js'
import type { ShareBackend } from '../../../lib/backends/share/share-backend.js'
import { VirtioBalloon } from '../../../lib/devices/virtio/balloon/virtio-balloon.js'
import { VirtioBlock } from '../../../lib/devices/virtio/block/virtio-block.js'
import { VirtioConsole } from '../../../lib/devices/virtio/console/virtio-console.js'
import { VirtioFs } from '../../../lib/devices/virtio/fs/virtio-fs.js'
import { VirtioMem } from '../../../lib/devices/virtio/mem/virtio-mem.js'
import { VirtioNet } from '../../../lib/devices/virtio/net/virtio-net.js'
import { VirtioRng } from '../../../lib/devices/virtio/rng/virtio-rng.js'
import type { VirtioDevice } from '../../../lib/devices/virtio/virtio-device.js'
import { VirtioVsock } from '../../../lib/devices/virtio/vsock/virtio-vsock.js'
import { DeviceRig } from '../../helpers/device-rig.js'
import { EchoDevice } from '../../helpers/echo-device.js'
import { plainMemory } from '../../helpers/guest-memories.js'
import { MmioDriver, turns } from '../../helpers/virtio-driver.js'
import { check, type FuzzTarget, Input } from './target.js'

const RAM = 0x2_0000
const RINGS = 0x1_0000
const HEAP = 0x8000
const SIZE = 8
const FEATURES = Array.from({ length: 64 }, (_, bit) => bit)

/**
 * A driver that sets the device up as it should and then does what the input says: descriptors, heads, kicks, registers,
 * bytes of memory, resets.
 */
async function drive(device: VirtioDevice, data: Uint8Array): Promise<void> {
  const rig = new DeviceRig(device, plainMemory([0, RAM]))
  const input = new Input(data)
  const { transport } = rig
  let { driver } = rig
  const start = () => {
    driver = new MmioDriver(transport, rig.memory, RINGS)
    const mask = input.u8()
    driver.start(mask & 1 ? FEATURES : FEATURES.filter((bit) => (bit * 37 + mask) % 3 === 0), SIZE)
  }
  start()
  for (let steps = 0; steps < 300 && !input.done; steps++) {
    const step = input.u8()
    const queue = driver.queues[(step >> 4) % Math.max(driver.queues.length, 1)]
    switch (step % 8) {
      case 0:
      case 1:
        queue?.setDescriptor(
          input.u8() % SIZE,
          address(input),
          length(input),
          input.u8() & 7,
          input.u8() % (SIZE + 1),
        )
        break
      case 2:
      case 3:
        queue?.offer(input.u8() % (SIZE + 1))
        queue?.publish()
        transport.notify(queue?.index ?? 0)
        break
      case 4:
        rig.memory.write(HEAP + (input.u16() & 0x1fff), input.bytes(input.u8() & 0x3f))
        break
      case 5:
        transport.write(input.u8() * 2, input.choose([1, 2, 4] as const), input.u32())
        break
      case 6:
        transport.read(input.u8() * 2, input.choose([1, 2, 4] as const))
        await turns()
        break
      case 7:
        if (input.u8() > 240 && !driver.status) start()
        else queue?.publish(input.u16())
    }
  }
  await turns(2)
  check(rig.reasons.length <= 40, 'more warnings than resets')
  await rig.close()
  if (rig.errors.length > 0) throw rig.errors[0]!
}

function address(input: Input): number | bigint {
  const kind = input.u8()
  if (kind < 230) return HEAP + (input.u8() << 4)
  return [RAM - 8, RAM, 2n ** 64n - 8n, 0xd000_0000, 0][kind % 5]!
}

function length(input: Input): number {
  const kind = input.u8()
  if (kind < 200) return kind
  return kind < 240 ? (kind - 200) * 512 : [0xffff_ffff, 0x8000_0000, 0x1_0000, 4096, 16][kind % 5]!
}

function diskOf(size: number): CustomDisk {
  const bytes = new Uint8Array(size)
  return new CustomDisk({
    size,
    read: async (offset, count) => bytes.slice(offset, offset + count),
    write: async (offset, data) => bytes.set(data, offset),
  })
}

/** A request of three descriptors: what it holds, then the chain, its head, and a turn. */
const requestSeed = (header: readonly number[]) =>
  Uint8Array.from([
    ...[1, 4, 0, 0, header.length, ...header],
    ...[0, 0, 0, 0, 16, 1, 1, 0, 1, 0, 0x20, 201, 3, 2, 0, 2, 0, 0x80, 1, 2, 0],
    ...[2, 0, 6, 0, 0],
  ])
const blockSeeds = [0, 1, 4, 8, 11, 13].map((type) =>
  requestSeed([type, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
)

const target = (about: string, run: FuzzTarget['run'], seeds = [requestSeed([0])]): FuzzTarget => ({
  about,
  run,
  seeds: () => seeds,
})

export const mmio = target('the registers of virtio-mmio', (data) =>
  drive(new EchoDevice({ queueSizes: [8, 16] }), data),
)
export const block = target(
  'requests of virtio-blk',
  async (data) => {
    const disk = diskOf(64 * 512)
    await disk.open()
    await drive(new VirtioBlock(disk), data)
    await disk.close()
  },
  blockSeeds,
)
export const net = target('frames and commands of virtio-net', async (data) => {
  const port = new VirtualSwitch().port()
  await port.open()
  await drive(new VirtioNet(port), data)
  await port.close()
})
export const consoles = target('ports and messages of virtio-console', (data) =>
  drive(new VirtioConsole({ ports: ['agent'] }), data),
)
const MEM_BLOCK = 2 ** 21
export const mem = target(
  'requests of virtio-mem',
  async (data) => {
    const plugged = new Set<number>()
    const each = (offset: number, size: number, use: (at: number) => boolean) => {
      for (let at = offset; at < offset + size; at += MEM_BLOCK) {
        check(at % MEM_BLOCK === 0 && at >= 0 && at < 16 * MEM_BLOCK, 'no block')
        check(use(at), 'a block that is as it is to be')
      }
    }
    const device = new VirtioMem(
      {
        plug: (offset, size) =>
          each(offset, size, (at) => !plugged.has(at) && plugged.add(at) !== undefined),
        unplug: async (offset, size) => each(offset, size, (at) => plugged.delete(at)),
      },
      {
        ...{ address: 2 ** 32, regionSize: 16 * MEM_BLOCK, blockSize: MEM_BLOCK },
        requestedSize: 8 * MEM_BLOCK,
      },
    )
    await drive(device, data)
    check(plugged.size * MEM_BLOCK === device.plugged, 'another sum')
    check(plugged.size <= 8, 'more than was asked for')
  },
  [0, 1, 2, 3].map((type) =>
    requestSeed([type, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]),
  ),
)
export const vsock = target('packets of virtio-vsock', async (data) => {
  const device = new VirtioVsock({ cid: 3 })
  device.listen(80, (stream) => stream.on('error', () => {}).resume())
  await drive(device, data)
})
export const balloon = target('pages of virtio-balloon', (data) =>
  drive(new VirtioBalloon({ deflateOnOom: true }), data),
)
export const rng = target('buffers of virtio-rng', (data) => drive(new VirtioRng(), data))

/** Answers with what it was asked, at once or later. */
const echo: ShareBackend = {
  open: async () => {},
  close: async () => {},
  reset: () => {},
  handle: (request, replyMax) => {
    const answer = request.subarray(0, replyMax)
    if (answer.length === 0) return undefined
    return answer[0]! & 1 ? turns().then(() => answer) : answer
  },
}
export const fs = target('chains of virtio-fs', (data) =>
  drive(new VirtioFs(echo, { tag: 'work' }), data),
)
