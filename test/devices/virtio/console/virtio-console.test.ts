import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import * as abi from '../../../../lib/devices/virtio/console/abi.js'
import { VirtioConsole } from '../../../../lib/devices/virtio/console/virtio-console.js'
import { DeviceRig } from '../../../helpers/device-rig.js'
import { turns, until } from '../../../helpers/virtio-driver.js'

const text = (bytes: Uint8Array | undefined) => Buffer.from(bytes ?? []).toString()

function control(id: number, event: number, value: number): Uint8Array {
  const bytes = new Uint8Array(8)
  const view = new DataView(bytes.buffer)
  view.setUint32(0, id, true)
  view.setUint16(4, event, true)
  view.setUint16(6, value, true)
  return bytes
}

const parse = (bytes: Uint8Array) => {
  const view = new DataView(bytes.buffer, bytes.byteOffset)
  return {
    id: view.getUint32(0, true),
    event: view.getUint16(4, true),
    value: view.getUint16(6, true),
    data: bytes.slice(8),
  }
}

describe('virtio-console', () => {
  it('carries output and input', async () => {
    const rig = new DeviceRig(new VirtioConsole())
    const [console] = rig.device.ports
    rig.driver.start([])
    await rig.send(1, Buffer.from('hello, host'))
    expect(text(console!.output.read())).toBe('hello, host')
    const written = new Promise((resolve) => console!.input.write('hello, guest', resolve))
    await turns(2)
    rig.offer(0, 2)
    expect(text((await rig.filled(0))[0])).toBe('hello, guest')
    await written
    await rig.close()
    expect(rig.errors).toEqual([])
  })

  it('tells its size', async () => {
    const rig = new DeviceRig(new VirtioConsole())
    rig.driver.start([abi.VIRTIO_CONSOLE_F_SIZE])
    rig.device.resize(132, 50)
    expect(rig.transport.read(0x100, 2)).toBe(132)
    expect(rig.transport.read(0x102, 2)).toBe(50)
    expect(rig.irq.pulses).toBe(1)
  })

  it('loses output and counts it if nobody reads a console, and goes on when somebody does', async () => {
    const rig = new DeviceRig(new VirtioConsole())
    rig.driver.start([])
    const [console] = rig.device.ports
    const chunk = Buffer.alloc(65536, 'x')
    for (let i = 0; i < 40; i++) await rig.send(1, chunk)
    expect(console!.lost).toBeGreaterThan(0)
    expect(console!.lost + console!.output.readableLength).toBe(40 * 65536)
    expect(console!.output.readableLength).toBeLessThanOrEqual(2 ** 20 + 65536)
    console!.output.resume()
    await turns(5)
    console!.output.pause()
    await rig.send(1, Buffer.from('end'))
    await turns(2)
    expect(text(console!.output.read())).toContain('end')
  })

  it('introduces its ports, and carries them when the guest has them open', async () => {
    const rig = new DeviceRig(new VirtioConsole({ ports: ['org.example.agent'] }))
    rig.driver.start([abi.VIRTIO_CONSOLE_F_MULTIPORT])
    rig.offer(2, 12, 256)
    await rig.send(3, control(0xffffffff, abi.VIRTIO_CONSOLE_DEVICE_READY, 1))
    const seen: ReturnType<typeof parse>[] = []
    const next = async (count: number) => {
      while (seen.length < count) seen.push(...(await rig.filled(2)).map(parse))
      return seen.splice(0, count)
    }
    expect((await next(2)).map(({ id, event }) => [id, event])).toEqual([
      [0, abi.VIRTIO_CONSOLE_PORT_ADD],
      [1, abi.VIRTIO_CONSOLE_PORT_ADD],
    ])
    await rig.send(3, control(1, abi.VIRTIO_CONSOLE_PORT_READY, 1))
    const [name, open] = await next(2)
    expect([name!.event, text(name!.data), open!.event, open!.value]).toEqual([
      abi.VIRTIO_CONSOLE_PORT_NAME,
      'org.example.agent',
      abi.VIRTIO_CONSOLE_PORT_OPEN,
      1,
    ])
    const port = rig.device.ports[1]!
    port.input.write('question')
    rig.offer(4, 2, 4096, 0x160000)
    await turns(5)
    expect(rig.driver.queues[4]!.deviceUsedIdx).toBe(0)
    await rig.send(3, control(1, abi.VIRTIO_CONSOLE_PORT_OPEN, 1))
    expect(text((await rig.filled(4))[0])).toBe('question')
    await rig.send(5, Buffer.from('answer'))
    expect(text(port.output.read())).toBe('answer')
    await rig.close()
  })

  it('makes the writer to a port wait while nobody reads', async () => {
    const rig = new DeviceRig(new VirtioConsole({ ports: ['data'] }))
    rig.driver.start([abi.VIRTIO_CONSOLE_F_MULTIPORT], 64)
    const ring = rig.driver.queues[5]!
    rig.memory.fill(0x100000, 65536, 0x41)
    for (let i = 0; i < 10; i++) ring.add([{ address: 0x100000, length: 65536 }])
    rig.driver.kick(5)
    await turns(5)
    const port = rig.device.ports[1]!
    expect(ring.deviceUsedIdx).toBeLessThan(3)
    let bytes = 0
    port.output.on('data', (chunk: Buffer) => {
      bytes += chunk.length
    })
    await until(() => bytes === 10 * 65536, 'all bytes')
    expect(port.lost).toBe(0)
    await rig.close()
    await once(port.output, 'close')
  })

  it('takes any control message', async () => {
    const rig = new DeviceRig(new VirtioConsole({ ports: ['a', 'b'] }))
    rig.driver.start([abi.VIRTIO_CONSOLE_F_MULTIPORT])
    for (let event = 0; event < 20; event++) {
      for (const id of [0, 1, 2, 3, 0xffff_ffff]) {
        for (const value of [0, 1, 0xffff]) await rig.send(3, control(id, event, value))
      }
    }
    for (const length of [1, 7]) await rig.send(3, new Uint8Array(length))
    expect(rig.errors).toEqual([])
    expect(rig.reasons).toEqual([])
  })

  it.each([[['']], [['a b']], [[7]], [Array(31).fill('p')]])('refuses ports %j', (ports) => {
    expect(() => new VirtioConsole({ ports: ports as string[] })).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION' }),
    )
  })
})
