const SECTOR = 512
/** Sectors of one chunk of the map: 16 MiB of disk in 4 KiB of memory. */
const CHUNK = 2 ** 15

/** A run of sectors that are all in a set, or all outside it. Bytes. */
export interface SectorRun {
  readonly offset: number
  readonly length: number
  readonly inside: boolean
}

/** A set of a disk's sectors, taking memory only where there are any. Offsets and lengths are bytes, whole sectors. */
export class SectorSet {
  readonly #chunks = new Map<number, Uint8Array>()

  has(sector: number): boolean {
    const bits = this.#chunks.get(Math.floor(sector / CHUNK))
    const at = sector % CHUNK
    return bits !== undefined && (bits[at >> 3]! & (1 << (at & 7))) !== 0
  }

  add(offset: number, length: number): void {
    for (let sector = offset / SECTOR; sector < (offset + length) / SECTOR; sector++) {
      const key = Math.floor(sector / CHUNK)
      let bits = this.#chunks.get(key)
      if (bits === undefined) {
        bits = new Uint8Array(CHUNK / 8)
        this.#chunks.set(key, bits)
      }
      const at = sector % CHUNK
      bits[at >> 3]! |= 1 << (at & 7)
    }
  }

  /** The runs that make up `[offset, offset + length)`, in order. */
  runs(offset: number, length: number): SectorRun[] {
    const runs: SectorRun[] = []
    const end = (offset + length) / SECTOR
    for (let sector = offset / SECTOR; sector < end; ) {
      const start = sector
      const inside = this.has(start)
      while (sector < end && this.has(sector) === inside) sector++
      runs.push({ offset: start * SECTOR, length: (sector - start) * SECTOR, inside })
    }
    return runs
  }
}
