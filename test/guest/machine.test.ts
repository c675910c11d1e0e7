import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { FileDisk } from '../../lib/index.js'
import { exec, SENT, StockGuest, stockKernel, temporaryDisk } from './stock-guest.js'

const sha256 = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')

it('a guest has the processors and the read-only disk that it was given', async () => {
  using disk = await temporaryDisk()
  const before = sha256(disk.path)
  const script = `
    echo "processors: $(nproc)"
    echo "memory: $(awk '/MemTotal/ { print $2 }' /proc/meminfo)"
    echo "read-only: $(cat /sys/block/vda/ro)"
    if dd if=/dev/zero of=/dev/vda bs=4096 count=1 conv=fsync; then echo written; fi
    mount -t ext4 -o ro /dev/vda /mnt && ls -d /mnt/lost+found
    exit 7`
  await using guest = await StockGuest.start(exec(script), {
    cpus: 2,
    memory: '384M',
    transport: 'mmio',
    disks: [new FileDisk(disk.path, { readOnly: true })],
  })
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
  expect(guest.log).toContain('processors: 2\r\n')
  const [, kibibytes] = /^memory: (\d+)/m.exec(guest.log) ?? []
  expect(Number(kibibytes)).toBeGreaterThan(256 * 1024)
  expect(Number(kibibytes)).toBeLessThan(384 * 1024)
  expect(guest.log).toContain('read-only: 1\r\n')
  expect(guest.log).not.toMatch(/^written/m)
  expect(guest.log).toContain('/mnt/lost+found')
  expect(guest.log).toContain('node-kvm: exit 7')
  expect(sha256(disk.path)).toBe(before)
})

it('a kernel without ACPI boots, and finds its disk where it takes the command line for that', async () => {
  using disk = await temporaryDisk()
  const { asset } = await stockKernel()
  const config = readFileSync(join(dirname(asset.vmlinuz), 'config'), 'utf8')
  const takesCommandLine = /^CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y$/m.test(config)
  await using guest = await StockGuest.start(
    `acpi=off ${exec(`echo "disks: $(ls /sys/block | grep -c vd)"; ${SENT}; reboot -f`)}`,
    { disks: [new FileDisk(disk.path)] },
  )
  expect(await guest.ended()).toEqual({ kind: 'reset' })
  expect(guest.log).toContain(`disks: ${takesCommandLine ? 1 : 0}\r\n`)
})
