import type { Bus } from '../bus/bus.js'
import type { RunPage } from '../kvm/run-page.js'

// Nothing here allocates, apart from the bigints of 8-byte accesses.

/** KVM_EXIT_IO: each item of a string instruction is an access of its own to the same port. */
export function serveIo(page: RunPage, bus: Bus): void {
  const size = page.ioSize
  const port = page.ioPort
  // The kernel keeps within the mapping; whatever else stands here, no more than that is touched.
  const room = page.bytes.length - page.ioDataOffset()
  const count = size > 0 ? Math.min(page.ioCount, Math.floor(room / size)) : 0
  if (page.ioIsIn) {
    for (let i = 0; i < count; i++) page.setIoData(bus.read(port, size), i)
  } else {
    for (let i = 0; i < count; i++) bus.write(port, size, page.ioData(i))
  }
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
