import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { FileDisk, MemoryDisk, Tap } from '../../lib/index.js'
import { guestInitramfs } from '../../lib/testing.js'
import { TapInterface } from '../helpers/tap-interface.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'
import { Guest } from './guest.js'
import { ping, stockKernel, temporaryDisk, waitFor } from './stock-guest.js'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

it('a Linux guest in a process of its own has its disks, network, files and programs', async () => {
  using disk = await temporaryDisk()
  using folder = temporaryFolder('isolated-guest')
  mkdirSync(folder.path('shared'))
  writeFileSync(folder.path('shared', 'here'), 'from the host')
  const { asset, kernel } = await stockKernel()
  const tap = new TapInterface()
  const { host, guest, prefix } = tap.network
  try {
    await using machine = await Guest.start({
      kernel,
      initrd: await guestInitramfs(asset, { agent: true }),
      commandLine: 'console=ttyS0 quiet nodekvm.mode=none',
      transport: 'pci',
      isolation: 'process',
      agent: { startTimeout: 170_000 },
      disks: [new FileDisk(disk.path)],
      nets: [new Tap(tap.name)],
      shares: [{ tag: 'work', path: folder.path('shared') }],
    })
    const { vm } = machine
    const shell = (script: string) => machine.shell(script)
    expect(vm.pid).not.toBe(process.pid)

    const network = `ip address add ${guest}/${prefix} dev eth0; ip link set eth0 up`
    expect(await shell(`${network}; ${ping(3, host)}`)).toBe('3 of 3 came back\n')
    const write = 'mount /dev/vda /mnt && cp /tmp/sent /mnt/kept && sync && sha256sum /mnt/kept'
    const bytes = randomBytes(3_000_000)
    writeFileSync(folder.path('sent'), bytes)
    await vm.copyIn(folder.path('sent'), '/tmp/sent')
    expect(await shell(write)).toContain(sha256(bytes))
    await vm.copyOut('/mnt/kept', folder.path('back'))
    expect(sha256(readFileSync(folder.path('back')))).toBe(sha256(bytes))
    const share = 'mkdir /work && mount -t virtiofs work /work && cat /work/here && echo b >/work/b'
    expect(await shell(share)).toBe('from the host')
    expect(readFileSync(folder.path('shared', 'b'), 'utf8')).toBe('b\n')

    const added = await vm.plugDisk(new MemoryDisk(2 ** 20))
    const seen = `
      ${waitFor('[ -e /sys/block/vdb/size ]')}
      dd if=/tmp/sent of=/dev/vdb bs=64k count=8 conv=fsync 2>/dev/null
      echo 3 >/proc/sys/vm/drop_caches
      dd if=/dev/vdb bs=64k count=8 2>/dev/null | sha256sum`
    expect(await shell(seen)).toContain(sha256(bytes.subarray(0, 2 ** 19)))
    await vm.unplug(added)
    expect(await shell('ls /sys/block')).not.toContain('vdb')

    await vm.pause()
    expect(vm.disks[0]!.counters.writes).toBeGreaterThan(0)
    expect(vm.nets[0]!.counters.txFrames).toBeGreaterThan(2)
    expect(vm.explain()).toContain('KVM_EXIT')
    await vm.resume()

    // What the guest was told is on the disk, is there, however its machine ends.
    const waiting = vm.exec(['sleep', '1000'])
    await shell('umount /mnt; sync')
    process.kill(vm.pid, 'SIGKILL')
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_AGENT' })
    expect(await vm.stopped).toMatchObject({ kind: 'error', error: { code: 'ERR_ISOLATION' } })
    expect(readFileSync(disk.path).includes(bytes.subarray(0, 2 ** 16))).toBe(true)
  } finally {
    tap.remove()
  }
})
