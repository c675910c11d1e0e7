/** Compressed data that cannot be what a compressor wrote. Whoever knows where the data came from says so to the user. */
export class CorruptDataError extends Error {
  override readonly name = 'CorruptDataError'
}

/** @throws CorruptDataError unless `condition`, with what is wrong */
export function ensure(condition: boolean, what: string): asserts condition {
  if (!condition) throw new CorruptDataError(what)
}
