import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { VIRTIO_MMIO_START, VIRTIO_MMIO_STRIDE } from '../../lib/arch/x86-64/layout.js'
import { VIRTIO_ID_RNG, VIRTIO_ID_VSOCK } from '../../lib/devices/virtio/abi.js'
import { VIRTIO_MMIO_DEVICE_ID } from '../../lib/devices/virtio/transport/virtio-mmio.js'
import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import * as guest from './tiny-guest.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-devices-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** Says the device ID in a slot, as a byte. */
function sayDeviceId(slot: number): number[] {
  const address = VIRTIO_MMIO_START + slot * VIRTIO_MMIO_STRIDE + VIRTIO_MMIO_DEVICE_ID
  const bytes = [0, 8, 16, 24].map((shift) => (address >>> shift) & 0xff)
  return [
    ...[0xbb, ...bytes], // mov $address, %ebx
    ...[0x8b, 0x03], // mov (%rbx), %eax
    ...[0xba, 0xf8, 0x03, 0, 0], // mov $COM1, %edx
    0xee, // out %al, %dx
  ]
}

async function deviceIds(options: Partial<VirtualMachineOptions>, slots: number) {
  const code = Array.from({ length: slots }, (_, slot) => sayDeviceId(slot))
  const kernel = guest.kernel(...code, guest.powerOff)
  await using vm = await VirtualMachine.create({ kernel, memory: '32M', ...options })
  await vm.start()
  const ids: number[] = []
  for await (const chunk of vm.console.output) ids.push(...(chunk as Buffer))
  return ids
}

describe('devices that are asked for', () => {
  it('are in the slots, in order', async () => {
    const ids = await deviceIds({ rng: true, vsock: {} }, 2)
    expect(ids).toEqual([VIRTIO_ID_RNG, VIRTIO_ID_VSOCK])
  })

  it('are none unless asked for', async () => {
    const kernel = guest.kernel(guest.powerOff)
    await using vm = await VirtualMachine.create({ kernel, memory: '32M' })
    expect(vm.vsock).toBeUndefined()
  })
})

describe('vsock', () => {
  const kernel = guest.kernel(guest.powerOff)

  it('gives the context ID that was asked for', async () => {
    await using vm = await VirtualMachine.create({ kernel, memory: '32M', vsock: { cid: 77 } })
    expect(vm.vsock?.cid).toBe(77)
  })

  it('makes its Unix socket and takes it away', async () => {
    const unixSocket = join(folder, 'vsock')
    const vm = await VirtualMachine.create({ kernel, memory: '32M', vsock: { unixSocket } })
    expect(existsSync(unixSocket)).toBe(true)
    await vm.close()
    expect(existsSync(unixSocket)).toBe(false)
  })

  it('names the option where the socket cannot be made', async () => {
    const unixSocket = join(folder, 'taken')
    writeFileSync(unixSocket, '')
    const vm = VirtualMachine.create({ kernel, memory: '32M', vsock: { unixSocket } })
    await expect(vm).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option: 'vsock.unixSocket',
      value: unixSocket,
    })
    expect(existsSync(unixSocket)).toBe(true)
  })
})
