import { describe, expect, it } from 'vitest'
import { detectBootProtocol } from '../../lib/boot/detect.js'
import { ImageFile } from '../../lib/boot/image-file.js'
import { linuxBzImage } from '../../lib/boot/linux-bzimage.js'
import { ENTRY_64 } from '../../lib/boot/linux-setup.js'
import { parseSetupHeader } from '../../lib/boot/setup-header.js'
import { sampleGuest } from '../../lib/cli/sample-guest.js'

describe('the guest whose run is compiled', () => {
  const kernel = new ImageFile(sampleGuest(), 'kernel', 'ERR_KERNEL_IMAGE')

  it('is a bzImage with its code at the 64-bit entry', () => {
    expect(detectBootProtocol(kernel)).toBe(linuxBzImage)
    const { kernelOffset, kernelSize } = parseSetupHeader(kernel)
    const code = kernel.read(kernelOffset + ENTRY_64, kernelSize - ENTRY_64)
    expect(code[0]).toBe(0x66) // mov dx, ...
    expect(code.lastIndexOf(0xf4)).toBeGreaterThan(0) // hlt
  })
})
