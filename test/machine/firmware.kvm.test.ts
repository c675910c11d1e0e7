import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { le16, le32 } from '../../lib/util/bits.js'
import { until } from '../helpers/virtio-driver.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-firmware-'))
afterAll(() => rmSync(folder, { recursive: true }))

const ROM_SIZE = 0x1_0000
const VARIABLES_SIZE = 0x4000

/** A ROM of 64 KiB: `code` where the last 64 KiB begin, in 16-bit mode, and a jump there where processors start. */
function rom(code: readonly number[]): Uint8Array {
  const image = new Uint8Array(ROM_SIZE).fill(0x90)
  image.set(code)
  image.set([0xe9, 0x0d, 0x00], 0xfff0) // jmp to offset 0 of the segment
  return image
}

const out = (port: number, value: number) => [
  ...[0xba, ...le16(port)], // mov $port, %dx
  ...[0xb0, value, 0xee], // mov $value, %al; out %al, %dx
]
const powerOff = [0xba, 0x04, 0x06, 0xb8, 0x00, 0x34, 0xef, 0xeb, 0xfe]
const say = [0xba, 0xf8, 0x03, 0xee] // mov $COM1, %dx; out %al, %dx

async function said(options: VirtualMachineOptions): Promise<string> {
  await using vm = await VirtualMachine.create({ memory: '32M', ...options })
  await vm.start()
  let text = ''
  for await (const chunk of vm.console.output) text += (chunk as Buffer).toString('latin1')
  expect(await vm.stopped).toEqual({ kind: 'shutdown' })
  return text
}

describe('a firmware', () => {
  it('starts where processors do, in a ROM that cannot be written, with a copy below 1 MiB', async () => {
    const code = [
      ...out(0x3f8, 0x41),
      // The low copy is RAM: mov $0xf000, %ax; mov %ax, %ds; movb $0x42, 0x100; mov 0x100, %al
      ...[0xb8, 0x00, 0xf0, 0x8e, 0xd8],
      ...[0xa0, 0x00, 0x00, ...say],
      ...[0xc6, 0x06, 0x00, 0x01, 0x42, 0xa0, 0x00, 0x01, ...say],
      ...powerOff,
    ]
    const image = rom(code)
    expect(await said({ firmware: image })).toBe(`A${String.fromCharCode(image[0]!)}B`)
    const path = join(folder, 'bios.bin')
    writeFileSync(path, image)
    expect(await said({ firmware: { image: path } })).toBe(`A${String.fromCharCode(image[0]!)}B`)
  })

  it('finds out what machine it is in', async () => {
    const code = [
      // Selects the number of processors and says it.
      ...[0xba, 0x10, 0x05, 0xb8, 0x05, 0x00, 0xef, 0xba, 0x11, 0x05, 0xec, ...say],
      // CMOS: processors besides the first.
      ...[0xb0, 0x5f, 0xe6, 0x70, 0xe4, 0x71, ...say],
      ...powerOff,
    ]
    expect(await said({ firmware: rom(code), cpus: 2 })).toBe('\x02\x01')
  })

  it('starts anew after a reset', async () => {
    // Counts in the CMOS memory; inc, compare with 3, and either power off or reset.
    const code = [
      ...[0xb0, 0x40, 0xe6, 0x70, 0xe4, 0x71, 0xfe, 0xc0, 0xe6, 0x71, ...say, 0x3c, 3],
      ...[0x74, 0x06, 0xb0, 0xfe, 0xe6, 0x64, 0xeb, 0xfe],
      ...powerOff,
    ]
    expect(await said({ firmware: rom(code), onReset: 'restart' })).toBe('\x01\x02\x03')
  })

  it('shows on the serial console what it would show on a screen, if it is SeaBIOS', async () => {
    const { seabiosMicrovm } = await (await import('../../lib/testing.js')).firmwareAsset()
    await using vm = await VirtualMachine.create({
      firmware: seabiosMicrovm,
      transport: 'mmio',
      memory: '32M',
      devices: { debugcon: { port: 0x402 } },
    })
    let text = ''
    let log = ''
    vm.console.output.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
    })
    vm.debugcon!.on('data', (chunk: Buffer) => {
      log += chunk.toString('latin1')
    })
    await vm.start()
    await until(() => text.includes('SeaBIOS (ver'))
    expect(log).toContain('QEMU fw_cfg DMA interface supported')
    expect(log).toMatch(/ACPI: parse DSDT/)
    expect(log).toContain('Found 1 cpu(s) max supported 1 cpu(s)')
  })
})

/**
 * Goes to 32 bits by a GDT in the ROM, with flat segments, where it can reach the variables below the ROM.
 * @param code 32-bit code, at offset 0x100
 */
function rom32(code: readonly number[]): Uint8Array {
  const image = rom([
    ...[0xfa, 0x2e, 0x66, 0x0f, 0x01, 0x16, 0x40, 0x00], // cli; lgdtl %cs:0x40
    ...[0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0], // mov %cr0, %eax; or $1, %al; mov %eax, %cr0
    ...[0x66, 0xea, 0x80, 0x00, 0xff, 0xff, 0x08, 0x00], // ljmpl $8, $0xffff0080
  ])
  const view = new DataView(image.buffer)
  view.setUint16(0x40, 23, true)
  view.setUint32(0x42, 0xffff_0050, true)
  view.setBigUint64(0x58, 0x00cf_9b00_0000_ffffn, true)
  view.setBigUint64(0x60, 0x00cf_9300_0000_ffffn, true)
  // mov $0x10, %ax; mov %ax, %ds
  image.set([0x66, 0xb8, 0x10, 0x00, 0x8e, 0xd8, ...code], 0x80)
  return image
}

const VARIABLES = 2 ** 32 - ROM_SIZE - VARIABLES_SIZE
const store = (offset: number, value: number) => [
  ...[0xc6, 0x05, ...le32(VARIABLES + offset), value], // movb $value, address
]
const load = (offset: number) => [0xa0, ...le32(VARIABLES + offset)] // mov address, %al
const say32 = [0x66, 0xba, 0xf8, 0x03, 0xee]
const powerOff32 = [0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x34, 0x66, 0xef, 0xeb, 0xfe]

describe('the variables of a firmware', () => {
  const code = [
    ...[...load(0x1001), ...say32], // Z
    ...[...store(0, 0x70), ...load(0x1001), ...say32], // status: 0
    ...[...store(0x1001, 0x40), ...store(0x1001, 0x41), ...load(0x1001), ...say32], // ready
    ...[...store(0, 0xff), ...load(0x1001), ...say32], // Z & A
    ...powerOff32,
  ]
  const expected = 'Z\x00\x80@'

  it('are kept in a file', async () => {
    const variables = join(folder, 'vars.fd')
    writeFileSync(variables, new Uint8Array(VARIABLES_SIZE).fill(0x5a))
    const options = { firmware: { image: rom32(code), variables } }
    expect(await said(options)).toBe(expected)
    const kept = readFileSync(variables)
    expect([kept[0x1000], kept[0x1001], kept[0x1002]]).toEqual([0x5a, 0x40, 0x5a])
    expect(await said(options)).toBe('@\x00\x80@')
  })

  it('are kept in bytes', async () => {
    const variables = new Uint8Array(VARIABLES_SIZE).fill(0x5a)
    expect(await said({ firmware: { image: rom32(code), variables } })).toBe(expected)
    expect(variables[0x1001]).toBe(0x40)
  })
})

describe('a firmware that is none', () => {
  const missing = join(folder, 'missing')
  const good = rom(powerOff)
  it.each<[option: string, firmware: VirtualMachineOptions['firmware']]>([
    ['firmware.image', missing],
    ['firmware.image', folder],
    ['firmware.image', new Uint8Array(4096)],
    ['firmware.image', new Uint8Array(0x1_0001)],
    ['firmware.image', new Uint8Array(0x80_1000)],
    ['firmware.variables', { image: good, variables: missing }],
    ['firmware.variables', { image: good, variables: new Uint8Array(100) }],
    ['firmware.variables', { image: good, variables: new Uint8Array(0x80_0000) }],
  ])('names %s (%#)', async (option, firmware) => {
    await expect(
      VirtualMachine.create({ firmware: firmware!, memory: '32M' }),
    ).rejects.toMatchObject({ code: 'ERR_FIRMWARE', option })
  })
})
