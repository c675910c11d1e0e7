const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  K: 2 ** 10,
  M: 2 ** 20,
  G: 2 ** 30,
  T: 2 ** 40,
}

/**
 * `'256M'`, `'1.5GiB'` or `'4096'` as bytes; units are powers of 1024, case does not matter.
 * `undefined` for what is no size, or is no whole number of bytes below 2^53.
 */
export function parseByteSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$/i.exec(text.trim())
  if (!match) return undefined
  const bytes = Number(match[1]) * UNITS[match[2]!.toUpperCase()]!
  return Number.isSafeInteger(bytes) ? bytes : undefined
}

/** Bytes for people: `256 MiB`, `1.5 GiB`, `512 bytes`. */
export function formatByteSize(bytes: number): string {
  for (const unit of ['T', 'G', 'M', 'K']) {
    const size = UNITS[unit]!
    if (bytes >= size) return `${Number((bytes / size).toFixed(2))} ${unit}iB`
  }
  return `${bytes} bytes`
}
