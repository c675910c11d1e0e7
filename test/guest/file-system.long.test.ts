import { expect, it } from 'vitest'
import { fileSystemTests } from '../../lib/assets/file-system-tests.js'
import { FileDisk } from '../../lib/index.js'
import { sparseFile } from '../helpers/sparse-file.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'
import { exec, StockGuest } from './stock-guest.js'

/** What each of stress-ng's stressors does, as often as said, to a file system, at once with the others. */
const STRESSORS: Readonly<Record<string, string>> = {
  aiol: '--aiol-ops 20',
  dentry: '--dentry-ops 200',
  dir: '--dir-ops 50',
  fallocate: '--fallocate-ops 3 --fallocate-bytes 1M',
  fiemap: '--fiemap-ops 20',
  hdd: '--hdd-ops 50 --hdd-bytes 2M',
  iomix: '--iomix-ops 20 --iomix-bytes 1M',
  rename: '--rename-ops 50',
  revio: '--revio-ops 20 --revio-bytes 1M',
  seek: '--seek-ops 50 --seek-size 1M',
  'sync-file': '--sync-file-ops 3 --sync-file-bytes 1M',
  xattr: '--xattr-ops 3',
}
const stressors = Object.entries(STRESSORS).map(([name, how]) => `--${name} 1 ${how}`)

const script = `
  mkdir /programs && mount -t ext4 -o ro /dev/vdb /programs || exit
  /programs/bin/mke2fs -q -F -t ext4 /dev/vda && mount -t ext4 /dev/vda /mnt || exit
  /programs/bin/stress-ng --temp-path /mnt --verify ${stressors.join(' ')}
  echo "stress-ng: $?."
  umount /mnt
  /programs/bin/e2fsck -f -n /dev/vda
  echo "e2fsck: $?."`

it('a file system on a disk does all that stress-ng asks of it, and is whole after', async () => {
  using folder = temporaryFolder('file-system')
  const disk = new FileDisk(sparseFile(folder.path('disk'), 2 ** 27))
  const programs = new FileDisk((await fileSystemTests()).image, { readOnly: true })
  await using guest = await StockGuest.start(exec(script), {
    disks: [disk, programs],
  })
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
  const said = guest.log.slice(guest.log.indexOf('node-kvm: init'))
  for (const line of ['stress-ng: 0.\r\n', 'e2fsck: 0.\r\n']) expect(said).toContain(line)
  expect(said).not.toMatch(/fail:|skipp|EXT4-fs (error|warning)|I\/O error|BUG:/)
  expect(guest.vm.disks[0]!.counters).toMatchObject({ errors: 0, dropped: 0 })
})
