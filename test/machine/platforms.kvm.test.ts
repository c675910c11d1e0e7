import { describe, expect, it } from 'vitest'
import {
  ACPI_PM_PORT,
  ACPI_SIZE,
  ACPI_START,
  COMMAND_LINE_START,
  MP_TABLE_SIZE,
  MP_TABLE_START,
} from '../../lib/arch/x86-64/layout.js'
import { PM1_CNT, SLP_EN, SLP_TYP_S5 } from '../../lib/devices/legacy/acpi-pm.js'
import { MemoryDisk, VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { le16 } from '../../lib/util/bits.js'
import * as guest from './tiny-guest.js'

const create = (options: Partial<VirtualMachineOptions>) =>
  VirtualMachine.create({ kernel: guest.kernel(guest.powerOff), memory: '32M', ...options })

describe('acpi', () => {
  const tables = (vm: VirtualMachine) => ({
    acpi: Buffer.from(vm.memory.view(ACPI_START, ACPI_SIZE)),
    mp: Buffer.from(vm.memory.view(MP_TABLE_START, MP_TABLE_SIZE)),
    line: Buffer.from(vm.memory.view(COMMAND_LINE_START, 256)).toString('latin1').split('\0')[0],
  })

  it('is there unless told', async () => {
    await using vm = await create({ commandLine: 'quiet', disks: [new MemoryDisk(4096)] })
    const { acpi, mp, line } = tables(vm)
    expect(acpi.toString('latin1', 0, 8)).toBe('RSD PTR ')
    expect(mp.every((byte) => byte === 0)).toBe(true)
    expect(line).toBe('quiet')
  })

  it('gives way to an MP table', async () => {
    const topology = { sockets: 2, cores: 3 }
    const disks = [new MemoryDisk(4096)]
    await using vm = await create({ acpi: false, topology, commandLine: 'quiet', disks })
    const { acpi, mp, line } = tables(vm)
    expect(acpi.every((byte) => byte === 0)).toBe(true)
    expect(mp.toString('latin1', 0, 4)).toBe('_MP_')
    // Processors are the first entries of the table behind the pointer, 20 bytes each.
    const processors = Array.from({ length: 7 }, (_, i) => mp.subarray(16 + 44 + 20 * i))
    expect(processors.map(([type, id]) => (type === 0 ? id : undefined))).toEqual([
      ...[0, 1, 2, 4, 5, 6],
      undefined,
    ])
    expect(line).toMatch(/^quiet virtio_mmio\.device=512@0xd0000000:5$/)
    await vm.start()
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  })
})

describe('flatBinary', () => {
  /** In real mode: a character to the console, and power off. */
  const real = Uint8Array.from([
    ...[0xba, ...le16(0x3f8), 0xb0, 0x52, 0xee], // mov $COM1, %dx; mov $'R', %al; out %al, %dx
    ...[0xba, ...le16(ACPI_PM_PORT + PM1_CNT), 0xb8, ...le16(SLP_EN | (SLP_TYP_S5 << 10)), 0xef],
  ])

  it.each<[string, Partial<VirtualMachineOptions>, string]>([
    ['real', { kernel: real, flatBinary: { mode: 'real' } }, 'R'],
    [
      'real, elsewhere',
      {
        kernel: Uint8Array.from([0xf4, ...real]),
        flatBinary: { mode: 'real', address: 0x1_0000, entry: 0x1_0001 },
      },
      'R',
    ],
    [
      'protected',
      {
        kernel: Uint8Array.from([...guest.print('P'), ...guest.powerOff]),
        flatBinary: { mode: 'protected' },
      },
      'P',
    ],
    [
      'long',
      {
        kernel: Uint8Array.from([...guest.print('L'), ...guest.powerOff]),
        flatBinary: { mode: 'long' },
      },
      'L',
    ],
  ])('%s', async (_, options, text) => {
    await using vm = await create(options)
    await vm.start()
    expect(await vm.stopped).toEqual({ kind: 'shutdown' })
    expect(String(vm.console.output.read())).toBe(text)
  })

  it.each<[string, string, Partial<VirtualMachineOptions>]>([
    [
      'ERR_INVALID_OPTION',
      'flatBinary.address',
      { flatBinary: { mode: 'real', address: 2 ** 20 } },
    ],
    ['ERR_KERNEL_IMAGE', 'kernel', { flatBinary: { mode: 'real', entry: 0x7000 } }],
    ['ERR_KERNEL_IMAGE', 'kernel', { kernel: new Uint8Array(0), flatBinary: { mode: 'long' } }],
    ['ERR_INITRD', 'initrd', { initrd: new Uint8Array(16), flatBinary: { mode: 'long' } }],
  ])('refuses with %s, naming %s', async (code, option, options) => {
    await expect(create({ kernel: real, ...options })).rejects.toMatchObject({ code, option })
  })
})
