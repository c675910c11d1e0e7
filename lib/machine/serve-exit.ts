import type { Bus } from '../bus/bus.js'
import type { RunPage } from '../kvm/run-page.js'

// Nothing here allocates, apart from the bigints of 8-byte accesses.

/** KVM_EXIT_IO: each item of a string instruction is an access of its own to the same port. */
export function serveIo(page: RunPage, bus: Bus): void {
  const size = page.ioSize
  const port = page.ioPort
  const isIn = page.ioIsIn
  const start = page.ioDataOffset()
  // The kernel keeps within the mapping; whatever else stands here, no more than that is touched.
  const room = page.bytes.length - start
  const count = size > 0 ? Math.min(page.ioCount, Math.floor(room / size)) : 0
  for (let at = start, i = 0; i < count; at += size, i++) {
    if (isIn) store(page, at, size, bus.read(port, size))
    else bus.write(port, size, load(page, at, size))
  }
}

/** The kernel aligns the data to its size; an item of any other size is all ones anyway. */
function store(page: RunPage, at: number, size: number, value: number): void {
  if (size === 1) page.bytes[at] = value
  else if (size === 2) page.u16[at >> 1] = value
  else if (size === 4) page.u32[at >> 2] = value
  else page.bytes.fill(0xff, at, at + size)
}

function load(page: RunPage, at: number, size: number): number {
  if (size === 1) return page.bytes[at]!
  return size === 2 ? page.u16[at >> 1]! : page.u32[at >> 2]!
}

/** KVM_EXIT_MMIO. An access that crosses a page comes in two, of any widths. */
export function serveMmio(page: RunPage, bus: Bus): void {
  const address = page.mmioAddress
  const length = page.mmioLength
  if (page.mmioIsWrite) {
    if (length === 8) bus.write64(address, page.mmioData64)
    else bus.write(address, length, page.mmioData)
  } else if (length === 8) {
    page.mmioData64 = bus.read64(address)
  } else {
    const value = bus.read(address, length)
    if (length === 1 || length === 2 || length === 4) page.mmioData = value
    else page.mmioData64 = 0xffff_ffff_ffff_ffffn
  }
}
