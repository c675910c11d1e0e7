/** Tells whether an input still does what it is kept for. */
type Holds = (input: Uint8Array) => Promise<boolean>

/**
 * A shorter input of which `holds` is true, by taking pieces out, from half of it down to a byte, and then by zeros.
 * @param tries how often `holds` is asked at most
 */
export async function shrink(input: Uint8Array, holds: Holds, tries: number): Promise<Uint8Array> {
  let best = input
  let left = tries
  const attempt = async (next: Uint8Array) => {
    if (left-- <= 0 || !(await holds(next))) return false
    best = next
    return true
  }
  for (let size = input.length >> 1; size > 0 && left > 0; size >>= 1) {
    for (let at = 0; at < best.length && left > 0; ) {
      const next = new Uint8Array(Math.max(best.length - size, at))
      next.set(best.subarray(0, at))
      next.set(best.subarray(at + size), at)
      if (!(await attempt(next))) at += size
    }
  }
  for (let at = 0; at < best.length && left > 0; at++) {
    if (best[at] === 0) continue
    const next = best.slice()
    next[at] = 0
    await attempt(next)
  }
  return best
}
