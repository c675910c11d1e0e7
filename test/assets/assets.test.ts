import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { bootDisk } from '../../lib/assets/boot-disk.js'
import { busyboxAsset } from '../../lib/assets/busybox.js'
import { cacheDirectory } from '../../lib/assets/cache.js'
import { DEBIAN_SUITE, debianRepository } from '../../lib/assets/debian-repository.js'
import { debianSystem } from '../../lib/assets/debian-system.js'
import { ext4Image } from '../../lib/assets/disk-image.js'
import { guestInitramfs } from '../../lib/assets/guest-initramfs.js'
import { guestPrograms } from '../../lib/assets/guest-programs.js'
import { KERNEL_SERIES, kernelAsset } from '../../lib/assets/kernel.js'
import { prepareGuestAssets } from '../../lib/assets/prepare.js'
import { GUEST_MODULES } from '../../lib/initramfs/guest-init.js'
import { readModuleInfo } from '../../lib/initramfs/module-info.js'
import { resolveModules } from '../../lib/initramfs/module-order.js'

// The first time on a machine packages are fetched.
const LIMIT_MS = 600_000
const options = { timeout: LIMIT_MS }

let base: string
let userCache: string
beforeAll(async () => {
  userCache = cacheDirectory()
  await prepareGuestAssets()
}, LIMIT_MS)
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'node-kvm-assets-'))
})
afterEach(() => {
  vi.unstubAllEnvs()
  rmSync(base, { recursive: true, force: true })
})

/** From here on the cache is another one, with copies of these folders of the user's. */
function useCopyOf(...folders: string[]): string {
  for (const folder of folders) {
    cpSync(join(userCache, folder), join(base, 'node-kvm', folder), { recursive: true })
  }
  vi.stubEnv('XDG_CACHE_HOME', base)
  return join(base, 'node-kvm')
}

function listArchive(path: string): string[] {
  const listing = execFileSync('cpio', ['-it', '--quiet'], { input: readFileSync(path) })
  return listing.toString().trimEnd().split('\n')
}

/** Asks for a dynamic loader, which an initramfs does not have. */
const PT_INTERP = 3

/** Of a 64-bit ELF program: the ELF specification's "Program Header". */
function segmentTypes(program: Uint8Array): number[] {
  const bytes = Buffer.from(program)
  const at = Number(bytes.readBigUInt64LE(32))
  return Array.from({ length: bytes.readUInt16LE(56) }, (_, n) => bytes.readUInt32LE(at + n * 56))
}

describe.each(KERNEL_SERIES)('the Debian kernel of %s', options, (series) => {
  it('is a stock bzImage with its modules', async () => {
    const kernel = await kernelAsset(series)
    expect(kernel.version).toMatch(new RegExp(`^${series.replace('.', '\\.')}\\..*-cloud-amd64$`))
    expect(kernel.package.name).toBe(`linux-image-${kernel.version}`)
    expect(kernel.package.sha256).toMatch(/^[0-9a-f]{64}$/)
    // The setup header's magic: Documentation/arch/x86/boot.rst.
    expect(readFileSync(kernel.vmlinuz).toString('latin1', 0x202, 0x206)).toBe('HdrS')
    const modules = await resolveModules(kernel.modules, GUEST_MODULES, ['virtio_mmio'])
    expect(modules.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['virtio_mmio', 'virtio_blk', 'virtio_net']),
    )
    for (const { name, data } of modules) expect(readModuleInfo(data).name).toBe(name)
  })

  it('gets an initramfs with busybox and modules, the same each time', async () => {
    const kernel = await kernelAsset(series)
    const path = await guestInitramfs(kernel)
    const before = statSync(path).mtimeMs
    const names = listArchive(path)
    expect(names).toEqual(
      expect.arrayContaining(['init', 'bin/busybox', 'bin/sh', 'modules/virtio_blk.ko']),
    )
    expect(await guestInitramfs(kernel)).toBe(path)
    expect(statSync(path).mtimeMs).toBe(before)
    const more = listArchive(await guestInitramfs(kernel, { modules: ['vhost_net'] }))
    expect(more).toContain('modules/vhost_net.ko')
    await expect(guestInitramfs(kernel, { modules: ['no-such'] })).rejects.toThrow(/no_such/)
  })
})

describe('the cache', options, () => {
  it('needs no program and no network once it is full', async () => {
    const path = cacheDirectory()
    vi.stubEnv('PATH', '/nonexistent')
    const kernel = await kernelAsset('6.12')
    expect(kernel.vmlinuz.startsWith(path)).toBe(true)
    expect((await guestInitramfs(kernel)).startsWith(path)).toBe(true)
    expect((await ext4Image()).startsWith(path)).toBe(true)
  })

  it('names what is missing where it is empty', async () => {
    useCopyOf()
    vi.stubEnv('PATH', '/nonexistent')
    const missing = (name: string) =>
      expect.objectContaining({
        code: 'ERR_MISSING_PROGRAM',
        message: expect.stringContaining(`apt-get install ${name}`),
      })
    await expect(kernelAsset('6.1')).rejects.toEqual(missing('apt'))
    await expect(busyboxAsset()).rejects.toEqual(missing('apt'))
  })

  it('tells a module that is not as it was fetched', async () => {
    const cache = useCopyOf('linux-6.1-cloud-amd64')
    const { modules } = await kernelAsset('6.1')
    const path = modules.order.split('\n').find((path) => path.includes('virtio_blk'))!
    writeFileSync(join(cache, 'linux-6.1-cloud-amd64/modules', path), 'something else')
    await expect(resolveModules(modules, ['virtio_blk'])).rejects.toMatchObject({
      code: 'ERR_ASSET',
      message: expect.stringContaining('virtio_blk'),
    })
  })
})

describe('busybox', options, () => {
  it('is fetched anew where it was damaged, is static, and runs', async () => {
    const cache = useCopyOf('busybox')
    const before = await busyboxAsset()
    writeFileSync(join(cache, 'busybox/busybox'), 'something else')
    const reports: string[] = []
    const after = await busyboxAsset({ report: (text) => reports.push(text) })
    expect(reports.join()).toMatch(/fetching busybox-static/)
    expect(Buffer.compare(before, after)).toBe(0)
    const copy = join(base, 'busybox')
    writeFileSync(copy, after, { mode: 0o755 })
    expect(execFileSync(copy, ['echo', 'hello'], { encoding: 'utf8' })).toBe('hello\n')
    expect(segmentTypes(after)).not.toContain(PT_INTERP)
  })
})

describe('ext4Image', options, () => {
  it('is a whole and empty ext4 file system of its size', async () => {
    const path = await ext4Image({ sizeMiB: 16 })
    expect(statSync(path).size).toBe(16 * 2 ** 20)
    const copy = join(base, 'disk.img')
    copyFileSync(path, copy)
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
    expect(String(execFileSync('e2fsck', ['-fn', copy], { env, stdio: 'pipe' }))).toMatch(/11\//)
    expect(dirname(await ext4Image({ sizeMiB: 16 }))).toBe(dirname(path))
  })

  it.each([0, 15, 4097, 16.5, Number.NaN])('refuses %d MiB', async (sizeMiB) => {
    await expect(ext4Image({ sizeMiB })).rejects.toMatchObject({
      code: 'ERR_INVALID_OPTION',
      option: 'sizeMiB',
    })
  })
})

describe('guestPrograms', options, () => {
  const programs = [{ package: 'cpio', path: 'bin/cpio' }]

  it('runs a program with the loader and libraries of its packages, and puts them into an image', async () => {
    const { folder, image } = await guestPrograms(programs)
    const program = join(folder, 'bin/cpio')
    const archive = execFileSync(program, ['-o', '--quiet'], { input: 'bin/cpio\n', cwd: folder })
    expect(archive.includes('ld-linux-x86-64.so.2')).toBe(true)
    const libraries = execFileSync(
      join(folder, 'lib/ld-linux-x86-64.so.2'),
      ['--library-path', join(folder, 'lib'), '--list', join(folder, 'lib/cpio')],
      { encoding: 'utf8' },
    )
    expect(libraries).toContain(`libc.so.6 => ${join(folder, 'lib')}`)
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
    const debugfs = (command: string) =>
      String(execFileSync('debugfs', ['-R', command, image], { env, stdio: 'pipe' }))
    expect(debugfs('cat /bin/cpio')).toBe(readFileSync(program, 'utf8'))
    expect(debugfs('ls /lib')).toContain('libc.so.6')
  })
})

describe('bootDisk', options, () => {
  it.each([
    ['bios', 0x83],
    ['uefi', 0xef],
  ] as const)('has GRUB and a partition with files, for %s', async (firmware, type) => {
    const file = join(base, 'file')
    const make = async (text: string) => {
      writeFileSync(file, text)
      const contents = { firmware, files: { 'a-file': file }, commands: ['echo', 'boot'] }
      return bootDisk({ ...contents, modules: [] })
    }
    const disks = [await make('what is in it'), await make('something longer')]
    expect(disks[0]).not.toBe(disks[1])
    const image = readFileSync(disks[0]!)
    for (const disk of disks) rmSync(dirname(disk), { recursive: true })
    expect([image[510], image[511], image[450]]).toEqual([0x55, 0xaa, type])
    const [start, sectors] = [image.readUInt32LE(454), image.readUInt32LE(458)]
    expect(image.length).toBe((start + sectors) * 512)
    const partition = join(base, 'partition.img')
    writeFileSync(partition, image.subarray(start * 512))
    const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/sbin` }
    if (firmware === 'bios') {
      expect(image.subarray(0, 440).includes('GRUB ')).toBe(true)
      const words = ['-R', 'cat /a-file', partition]
      expect(String(execFileSync('debugfs', words, { env, stdio: 'pipe' }))).toBe('what is in it')
    } else {
      expect(image.includes('BOOTX64')).toBe(true)
      expect(image.includes('what is in it')).toBe(true)
    }
  })
})

describe('a Debian', options, () => {
  it('has a repository of packages with all that they need, which apt takes for one', async () => {
    useCopyOf()
    const repository = await debianRepository('packages for a test', ['hello'])
    const list = join(base, 'sources.list')
    writeFileSync(list, `deb [trusted=yes] file:${repository} ${DEBIAN_SUITE} main\n`)
    mkdirSync(join(base, 'lists/partial'), { recursive: true })
    mkdirSync(join(base, 'cache/archives/partial'), { recursive: true })
    writeFileSync(join(base, 'status'), '')
    const settings = [
      `Dir::Etc::SourceList=${list}`,
      'Dir::Etc::SourceParts=/dev/null',
      `Dir::State::Lists=${join(base, 'lists')}`,
      `Dir::State::status=${join(base, 'status')}`,
      `Dir::Cache=${join(base, 'cache')}`,
      'APT::Sandbox::User=root',
      'Debug::NoLocking=true',
    ].flatMap((setting) => ['-o', setting])
    const apt = (...args: string[]) =>
      execFileSync('apt-get', [...args, ...settings], { encoding: 'utf8', stdio: 'pipe' })
    expect(apt('update')).toContain(DEBIAN_SUITE)
    expect(apt('install', '--simulate', 'hello')).toMatch(/^Inst libc6 [\s\S]*^Conf hello /m)
  })

  it('is made by root only', async () => {
    useCopyOf()
    vi.spyOn(process, 'getuid').mockReturnValueOnce(1000)
    await expect(debianSystem('6.12', 'cloud-amd64')).rejects.toMatchObject({
      code: 'ERR_ASSET',
      message: expect.stringContaining('root'),
    })
  })
})
