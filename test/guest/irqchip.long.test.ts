import { expect, it } from 'vitest'
import { FileDisk } from '../../lib/index.js'
import { exec, StockGuest, temporaryDisk } from './stock-guest.js'

it.each(['pci', 'mmio'] as const)(
  'a stock kernel has its interrupts from an IOAPIC of this process: devices on %s',
  async (transport) => {
    using disk = await temporaryDisk()
    const script = `
      dd if=/dev/vda of=/dev/null bs=64k && echo "disk read"
      cat /proc/interrupts
      dmesg | grep -iE 'apic|8259|pic|timer|clocksource'`
    await using guest = await StockGuest.start(exec(script), {
      ...{ irqchip: 'split', transport, cpus: 2 },
      disks: [new FileDisk(disk.path)],
      series: transport === 'pci' ? '6.12' : '6.1',
    })
    expect(await guest.ended()).toEqual({ kind: 'shutdown' })
    expect(guest.log).toContain('disk read\r\n')
    expect(guest.log).toMatch(/IO-APIC.*edge +(ttyS0|virtio0)/)
    expect(guest.log).toMatch(/IO-APIC.*fasteoi +acpi/)
    expect(guest.log).not.toMatch(/XT-PIC|nobody cared|BUG:|Firmware Bug|ACPI (BIOS )?Error/)
    // The console's interrupts come by a level or an edge of this process, and the SCI by a level.
    const [exit] = guest.vm.stats().exits.filter(({ reason }) => reason === 'KVM_EXIT_MMIO')
    expect(exit!.count).toBeGreaterThan(0)
  },
)
