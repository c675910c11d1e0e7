import { expect, it } from 'vitest'
import { FileDisk, type VmWarning } from '../../lib/index.js'
import { guestInitramfs } from '../../lib/testing.js'
import { exec, StockGuest, stockKernel, temporaryDisk } from './stock-guest.js'

it('a guest panics, restarts by itself, and powers off by its power button', async () => {
  using disk = await temporaryDisk()
  const { asset } = await stockKernel()
  const initrd = await guestInitramfs(asset, { modules: ['pvpanic-mmio', 'button', 'evdev'] })
  const script = `
    mount -t ext4 /dev/vda /mnt
    if [ ! -e /mnt/panicked ]; then
      touch /mnt/panicked; sync; umount /mnt
      echo c >/proc/sysrq-trigger
    fi
    echo "generation IDs: $(ls /sys/bus/*/drivers/vmgenid | grep -c NKVM0001)"
    umount /mnt
    exec 3</dev/input/event0 # what is pressed from here on is kept for who reads later
    echo listening
    head -c 24 <&3 >/dev/null && echo pressed`
  await using guest = await StockGuest.start(`panic=-1 ${exec(script)}`, {
    initrd,
    disks: [new FileDisk(disk.path)],
    onReset: 'restart',
    devices: { pvpanic: { onPanic: 'warn' }, vmGenerationId: true },
  })
  const events: (string | VmWarning)[] = []
  guest.vm.on('warning', (warning) => events.push(warning))
  guest.vm.on('reset', () => events.push('reset'))
  await guest.said(/^listening/m)
  expect(await guest.vm.shutdown({ timeout: 60_000 })).toEqual({ kind: 'shutdown' })
  await guest.ended()
  expect(events).toEqual([{ kind: 'guest-panicked', crashLoaded: false }, 'reset'])
  expect(guest.log).toContain('Kernel panic - not syncing: sysrq triggered crash')
  expect(guest.log).toContain('generation IDs: 1\r\n')
  expect(guest.log).toMatch(/^pressed/m)
  expect(guest.log).not.toMatch(/ACPI Error|ACPI BIOS Error|ACPI Warning|Firmware Bug/)
})
