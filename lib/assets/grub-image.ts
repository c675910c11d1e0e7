import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { AssetOptions } from './cache.js'
import { guestPrograms } from './guest-programs.js'
import { packageFiles } from './package-files.js'
import { runProgram } from './program.js'

/** What GRUB is made of for each firmware: its package, where its modules lie, and those for disks and partitions. */
const TARGETS = {
  'i386-pc': {
    package: 'grub-pc-bin',
    folder: 'usr/lib/grub/i386-pc',
    files: ['boot.img', 'diskboot.img', 'kernel.img'],
    modules: ['biosdisk', 'part_msdos', 'ext2'],
  },
  'x86_64-efi': {
    package: 'grub-efi-amd64-bin',
    folder: 'usr/lib/grub/x86_64-efi',
    files: ['kernel.img'],
    modules: ['part_msdos', 'fat'],
  },
} as const

const CONSOLE = ['serial --unit=0 --speed=115200', 'terminal_output serial']
const COMMON_MODULES = ['normal', 'serial', 'terminal', 'echo', 'boot']
const ROOT = '(hd0,msdos1)'

/** What GRUB is to be, and a folder to make it in. */
export interface GrubImageOptions {
  readonly target: keyof typeof TARGETS
  readonly commands: readonly string[]
  readonly modules: readonly string[]
  readonly work: string
}

/** The path of a GRUB with the modules that it needs to get at the first disk's first partition, and with what it is to do. */
export async function grubImage(
  { target, commands, modules, work }: GrubImageOptions,
  options: AssetOptions,
): Promise<string> {
  const kind = TARGETS[target]
  const program = { package: 'grub-common', path: 'usr/bin/grub-mkimage' }
  const { folder } = await guestPrograms([program], options)
  const files = kind.files.map((name) => `${kind.folder}/${name}`)
  const grub = await packageFiles(kind.package, files, options)
  const configuration = join(work, 'grub.cfg')
  const lines = [...CONSOLE, `set root=${ROOT}`, ...commands]
  await writeFile(configuration, `${lines.join('\n')}\n`)
  const image = join(work, 'grub.img')
  await runProgram(join(folder, 'bin/grub-mkimage'), [
    ...['-d', join(grub, kind.folder), '-O', target, '-p', `${ROOT}/`],
    ...['-c', configuration, '-o', image],
    ...[...kind.modules, ...COMMON_MODULES, ...modules],
  ])
  return image
}

/** GRUB's code for a disk's first sector. */
export async function grubBootSector(options: AssetOptions): Promise<Uint8Array> {
  const { package: name, folder } = TARGETS['i386-pc']
  const path = `${folder}/boot.img`
  return readFile(join(await packageFiles(name, [path], options), path))
}
