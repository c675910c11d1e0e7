import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import * as setup from '../../lib/boot/linux-setup.js'
import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { bzImage, elfImage } from '../helpers/kernel-images.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'
import * as guest from './tiny-guest.js'

const PAYLOAD_OFFSET = 0x1000
const program = (text: string) =>
  Uint8Array.from([guest.print(text), guest.powerOff, guest.spin].flat())

/** A bzImage that says 'guest', with an ELF inside that says 'host'. */
function packedKernel(payload: Uint8Array): Uint8Array {
  const image = bzImage({
    code: program('guest'),
    kernelSize: 65536,
    fields: {
      [setup.PAYLOAD_OFFSET]: PAYLOAD_OFFSET,
      [setup.PAYLOAD_LENGTH]: payload.length,
    },
  })
  image.set(payload, 1024 + PAYLOAD_OFFSET)
  return image
}

const elf = (text: string) => elfImage({ segments: [{ bytes: program(text) }] })
const vmlinux = elf('host')
const gzip = Uint8Array.from(gzipSync(vmlinux))

async function says(options: Pick<VirtualMachineOptions, 'kernel' | 'decompress' | 'isolation'>) {
  await using vm = await VirtualMachine.create({ memory: '64M', ...options })
  await vm.start()
  let text = ''
  for await (const chunk of vm.console.output) text += (chunk as Buffer).toString('latin1')
  return text
}

describe('decompress', () => {
  it('leaves a bzImage to the guest unless told', async () => {
    expect(await says({ kernel: packedKernel(gzip) })).toBe('guest')
    expect(await says({ kernel: packedKernel(gzip), decompress: 'guest' })).toBe('guest')
  })

  it("by 'host' starts the ELF kernel inside", async () => {
    expect(await says({ kernel: packedKernel(gzip), decompress: 'host' })).toBe('host')
  })

  it("by 'host' starts an ELF kernel as it is", async () => {
    expect(await says({ kernel: vmlinux, decompress: 'host' })).toBe('host')
  })

  it('leaves to the guest what is packed in a way that is not known', async () => {
    const kernel = packedKernel(Uint8Array.of(0x42, 0x5a, 0x68, 1, 2, 3, 4, 5))
    expect(await says({ kernel, decompress: 'host' })).toBe('guest')
  })

  it('refuses a damaged payload before anything runs', async () => {
    const damaged = gzip.slice()
    damaged[damaged.length >> 1]! ^= 0xff
    await expect(says({ kernel: packedKernel(damaged), decompress: 'host' })).rejects.toMatchObject(
      {
        code: 'ERR_KERNEL_IMAGE',
        option: 'kernel',
      },
    )
  })
})

describe("decompress by 'once'", () => {
  const folder = temporaryFolder('kept-kernel')
  afterAll(() => folder[Symbol.dispose]())
  const { path } = folder
  const kernel = path('vmlinuz')
  const usual = process.env.XDG_CACHE_HOME
  beforeEach(() => {
    process.env.XDG_CACHE_HOME = path('cache')
  })
  afterEach(() => {
    if (usual === undefined) delete process.env.XDG_CACHE_HOME
    else process.env.XDG_CACHE_HOME = usual
  })

  const write = (image: Uint8Array) => writeFileSync(kernel, image)
  const once = { kernel, decompress: 'once' } as const
  const kept = () => {
    const parent = path('cache/node-kvm/vmlinux')
    return readdirSync(parent).map((name) => join(parent, name, 'vmlinux'))
  }

  it('keeps what was unpacked until the kernel changes', async () => {
    write(packedKernel(gzip))
    expect(await says(once)).toBe('host')
    const [file, ...others] = kept()
    expect(others).toEqual([])
    writeFileSync(file!, elf('kept'))
    expect(await says(once)).toBe('kept')
    expect(await says({ ...once, isolation: 'process' })).toBe('kept')
    expect(await says({ kernel })).toBe('guest')
    write(packedKernel(Uint8Array.from(gzipSync(elf('other')))))
    expect(await says(once)).toBe('other')
    expect(kept()).toEqual([file])
  })

  it.each([
    ['an ELF', vmlinux, 'host'],
    [
      'packed in a way that is not known',
      packedKernel(Uint8Array.of(0x42, 0x5a, 0x68, 1, 2, 3, 4, 5)),
      'guest',
    ],
  ])('starts a kernel as it is that is %s', async (_, image, who) => {
    write(image)
    expect(await says(once)).toBe(who)
    expect(await says(once)).toBe(who)
  })

  it('leaves a kernel that is no file to the guest', async () => {
    expect(await says({ ...once, kernel: packedKernel(gzip) })).toBe('guest')
  })

  it.each([
    ['is not there', path('none'), 'ERR_KERNEL_IMAGE'],
    ['is none', path('text'), 'ERR_KERNEL_IMAGE'],
    ['is damaged', path('damaged'), 'ERR_KERNEL_IMAGE'],
    ['cannot be kept', path('good'), 'ERR_ASSET'],
  ])('says that a kernel %s', async (_, file, code) => {
    writeFileSync(path('text'), 'text')
    writeFileSync(path('damaged'), packedKernel(gzip.map((byte, i) => (i > 30 ? byte ^ 1 : byte))))
    writeFileSync(path('good'), packedKernel(gzip))
    if (code === 'ERR_ASSET') process.env.XDG_CACHE_HOME = path('good')
    await expect(says({ ...once, kernel: file })).rejects.toMatchObject({ code })
  })
})
