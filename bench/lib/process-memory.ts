import { readFileSync } from 'node:fs'

/**
 * KiB of memory of a process besides the guest's RAM: proportional set size, less that of the mappings that hold the
 * guest's memory, which are those of at least `guestBytes`.
 */
export function memoryBesidesGuest(pid: number | 'self', guestBytes: number): number {
  let total = 0
  let guest = 0
  let mappingBytes = 0
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line)
    if (range) mappingBytes = Number.parseInt(range[2]!, 16) - Number.parseInt(range[1]!, 16)
    const pss = /^Pss:\s+(\d+) kB/.exec(line)
    if (!pss) continue
    total += Number(pss[1])
    if (mappingBytes >= guestBytes) guest += Number(pss[1])
  }
  return total - guest
}
