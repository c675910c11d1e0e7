import { expect, it } from 'vitest'
import { acpiLoaderFiles } from '../../../../lib/arch/x86-64/acpi/table-loader.js'
import * as layout from '../../../../lib/arch/x86-64/layout.js'

const files = acpiLoaderFiles({
  cpus: [{ apicId: 0 }],
  ioapic: { id: 0, address: layout.IOAPIC_START, gsiBase: 0 },
  sciGsi: layout.SCI_GSI,
  pmBase: layout.ACPI_PM_PORT,
  uarts: [],
  virtioMmio: [],
})

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('latin1').replace(/\0.*$/s, '')
const sum = (bytes: Uint8Array) => bytes.reduce((total, byte) => total + byte, 0) & 0xff

/** Does what the commands say, as firmware does, with the files at the addresses given. */
function load(addresses: Record<string, number>): Map<string, Buffer> {
  const script = Buffer.from(files['etc/table-loader']!)
  const loaded = new Map<string, Buffer>()
  for (let at = 0; at < script.length; at += 128) {
    const file = text(script.subarray(at + 4, at + 60))
    const word = (offset: number) => script.readUInt32LE(at + offset)
    const bytes = loaded.get(file)
    switch (word(0)) {
      case 1:
        expect(addresses[file]! % word(60)).toBe(0)
        expect(script[at + 64]).toBe(file === 'etc/acpi/rsdp' ? 2 : 1)
        loaded.set(file, Buffer.from(files[file]!))
        break
      case 2: {
        const target = addresses[text(script.subarray(at + 60, at + 116))]!
        if (script[at + 120] === 8) {
          bytes!.writeBigUInt64LE(bytes!.readBigUInt64LE(word(116)) + BigInt(target), word(116))
        } else {
          bytes!.writeUInt32LE(bytes!.readUInt32LE(word(116)) + target, word(116))
        }
        break
      }
      case 3: {
        // OVMF sums up what stands there, SeaBIOS does not mind.
        bytes![word(60)] = -sum(bytes!.subarray(word(64), word(64) + word(68))) & 0xff
        break
      }
      default:
        throw new Error(`command ${word(0)}`)
    }
  }
  return loaded
}

it('the commands put the ACPI tables together, wherever they are placed', () => {
  const base = 0x7fe_0040 - 0x40
  const loaded = load({ 'etc/acpi/tables': base, 'etc/acpi/rsdp': 0xf_5a20 })
  const rsdp = loaded.get('etc/acpi/rsdp')!
  const tables = loaded.get('etc/acpi/tables')!
  expect(text(rsdp.subarray(0, 8))).toBe('RSD PTR ')
  expect([sum(rsdp.subarray(0, 20)), sum(rsdp)]).toEqual([0, 0])
  const table = (address: number, signature: string) => {
    const at = address - base
    expect(tables.subarray(at, at + 4).toString()).toBe(signature)
    const bytes = tables.subarray(at, at + tables.readUInt32LE(at + 4))
    if (signature !== 'FACS') expect(sum(bytes), signature).toBe(0)
    return bytes
  }
  const xsdt = table(Number(rsdp.readBigUInt64LE(24)), 'XSDT')
  const fadt = table(Number(xsdt.readBigUInt64LE(36)), 'FACP')
  table(Number(xsdt.readBigUInt64LE(44)), 'APIC')
  expect(xsdt).toHaveLength(52)
  table(fadt.readUInt32LE(36), 'FACS')
  table(fadt.readUInt32LE(40), 'DSDT')
  table(Number(fadt.readBigUInt64LE(140)), 'DSDT')
})
