import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import * as setup from '../../lib/boot/linux-setup.js'
import { VirtualMachine } from '../../lib/index.js'
import { bzImage, elfImage } from '../helpers/kernel-images.js'
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

const vmlinux = elfImage({ segments: [{ bytes: program('host') }] })
const gzip = Uint8Array.from(gzipSync(vmlinux))

async function says(options: { kernel: Uint8Array; decompress?: 'guest' | 'host' }) {
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
