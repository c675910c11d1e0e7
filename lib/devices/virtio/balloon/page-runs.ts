/**
 * Calls `use` for each run of ascending or descending neighbours in a list of page numbers, so that neighbours cost one
 * system call.
 */
export function forEachPageRun(
  numbers: Uint32Array,
  use: (first: number, count: number) => void,
): void {
  let first = 0
  let last = -2
  for (const page of numbers) {
    if (last >= 0 && page === last + 1) {
      last = page
    } else if (last >= 0 && page === first - 1) {
      first = page
    } else {
      if (last >= 0) use(first, last - first + 1)
      first = page
      last = page
    }
  }
  if (last >= 0) use(first, last - first + 1)
}
