import { CorruptDataError } from '../../../lib/boot/decompress/corrupt-data-error.js'
import { decompressLz4 } from '../../../lib/boot/decompress/lz4.js'
import { decompressZstd } from '../../../lib/boot/decompress/zstd.js'
import { extractVmlinux } from '../../../lib/boot/extract-vmlinux.js'
import { ImageFile } from '../../../lib/boot/image-file.js'
import { VmmError } from '../../../lib/errors.js'
import { readModuleInfo } from '../../../lib/initramfs/module-info.js'
import type { GuestMemory } from '../../../lib/memory/guest-memory.js'
import { boot, MIB } from '../../helpers/boot.js'
import { lz4Literals, WORDS_600, words, ZEROS_300000 } from '../../helpers/compressed.js'
import { guestRam } from '../../helpers/guest-ram.js'
import {
  bzImage,
  elfImage,
  multibootElf,
  multibootImage,
  pvhImage,
} from '../../helpers/kernel-images.js'
import { check, type FuzzTarget, Input } from './target.js'

/** Made once, and written over by each input. */
let memory: GuestMemory | undefined

/** Does it, or refuses it as a program is to be told. */
function orRefuses(action: () => unknown, refusal: abstract new (...args: never[]) => Error): void {
  try {
    action()
  } catch (error) {
    if (!(error instanceof refusal)) throw error
  }
}

function load(data: Uint8Array, initrd?: Uint8Array): void {
  memory ??= guestRam(32 * MIB)
  const ram = memory
  orRefuses(() => {
    const { entry } = boot(data, {
      memory: ram,
      commandLine: ['quiet'],
      modules: [],
      ...(initrd && { initrd }),
    })
    check(entry.rip < 2n ** 32n, 'an entry point beyond memory')
  }, VmmError)
}

/** The last byte says how long an initrd there is. */
function loadWithInitrd(data: Uint8Array): void {
  const pages = data.at(-1) ?? 0
  load(data.subarray(0, -1), pages > 128 ? new Uint8Array(pages << 9) : undefined)
}

const small = Uint8Array.of(0xf4)

export const bzimage: FuzzTarget = {
  about: 'bzImage kernels, with and without an initrd',
  seeds: () => [
    bzImage({ code: small, kernelSize: 1024 }),
    bzImage({ code: small, kernelSize: 1024, setupSects: 1 }),
  ],
  run: loadWithInitrd,
}

export const elf: FuzzTarget = {
  about: 'ELF and PVH kernels, with and without an initrd',
  seeds: () => [elfImage(), pvhImage(), pvhImage({ bits: 32 })],
  run: loadWithInitrd,
}

export const multiboot: FuzzTarget = {
  about: 'Multiboot kernels',
  seeds: () => [multibootImage({ code: small }), multibootElf()],
  run: loadWithInitrd,
}

export const vmlinux: FuzzTarget = {
  about: 'the kernel inside a bzImage',
  seeds: () => [bzImage({ code: small, kernelSize: 1024 })],
  run: (data) => {
    const kernel = new ImageFile(data, 'kernel', 'ERR_KERNEL_IMAGE')
    orRefuses(() => extractVmlinux(kernel), VmmError)
  },
}

export const zstd: FuzzTarget = {
  about: 'Zstandard',
  seeds: () => [...Object.values(WORDS_600), ZEROS_300000],
  run: (data) => orRefuses(() => decompressZstd(data, 2 ** 19), CorruptDataError),
}

export const lz4: FuzzTarget = {
  about: 'LZ4',
  seeds: () => [lz4Literals(words(20))],
  run: (data) => orRefuses(() => decompressLz4(data, 2 ** 19), CorruptDataError),
}

export const kernelModule: FuzzTarget = {
  about: 'kernel modules',
  seeds: () => [elfImage()],
  run: (data) => orRefuses(() => readModuleInfo(data), Error),
}

/** Good kernels, with what the input puts beside them. */
export const initrd: FuzzTarget = {
  about: 'initrds, modules and command lines beside a kernel of each protocol',
  words: ['\0', 'root=/dev/vda', ' ', '\n', 'ä', '\ud800'],
  seeds: () =>
    [0, 1, 2, 3].map((kind) =>
      Uint8Array.from([kind, 5, 0, 2, 3, 97, 61, 98, 1, 2, 0, 3, 109, 111, 100, kind]),
    ),
  run: (data) => {
    const input = new Input(data)
    const kernels = [
      () => bzImage({ code: small, kernelSize: 1024 }),
      elfImage,
      pvhImage,
      () => multibootImage({ code: small }),
    ]
    const kernel = input.choose(kernels)()
    const text = () => Buffer.from(input.bytes(input.u8())).toString('utf8')
    // In pages; the most is what no machine of this size has room for.
    const file = () => new Uint8Array(input.u16() << (input.u8() % 10)).fill(1)
    const initrd = file()
    const commandLine = Array.from({ length: input.u8() % 16 }, text)
    const modules = Array.from({ length: input.u8() % 8 }, () => ({
      image: file(),
      commandLine: text(),
    }))
    memory ??= guestRam(32 * MIB)
    const ram = memory
    orRefuses(
      () => boot(kernel, { memory: ram, commandLine, modules, ...(initrd.length && { initrd }) }),
      VmmError,
    )
  },
}
