import { VmmError } from '../errors.js'

/**
 * Checks a kernel command line and appends to it.
 * @param limit bytes that the kernel takes, the closing NUL not among them
 * @returns the bytes with the NUL that closes them
 * @throws VmmError `ERR_COMMAND_LINE`
 */
export function encodeCommandLine(parts: readonly string[], limit: number): Uint8Array {
  const line = parts.filter((part) => part !== '').join(' ')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: which control characters may stand there is the point
  const bad = /[^\x09\x20-\x7e]/.exec(line)
  if (bad) {
    const code = bad[0].codePointAt(0)!.toString(16).padStart(4, '0')
    throw commandLineError(
      `U+${code} at position ${bad.index}`,
      line,
      'printable ASCII, spaces and tabs',
    )
  }
  if (line.length > limit)
    throw commandLineError(
      `${line.length} bytes`,
      line,
      `at most ${limit}, which is what this kernel takes`,
    )
  const bytes = new Uint8Array(line.length + 1)
  new TextEncoder().encodeInto(line, bytes)
  return bytes
}

function commandLineError(found: string, value: string, expected: string): VmmError {
  return new VmmError('ERR_COMMAND_LINE', `commandLine: has ${found}; expected ${expected}`, {
    option: 'commandLine',
    value,
    expected,
  })
}

/** One `virtio_mmio.device=` parameter (Linux, drivers/virtio/virtio_mmio.c): size, base, interrupt. */
export function virtioMmioParameter({
  address,
  size,
  gsi,
}: {
  address: number
  size: number
  gsi: number
}): string {
  return `virtio_mmio.device=${size}@0x${address.toString(16)}:${gsi}`
}
