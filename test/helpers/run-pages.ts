import { KVM_EXIT_IO, KVM_EXIT_MMIO } from '../../lib/kvm/abi/exits.js'
import { RunPage } from '../../lib/kvm/run-page.js'

/** Bytes of a run page. */
export const PAGE = 0x3000

interface Io {
  direction: number
  size: number
  port: number
  count: number
  dataOffset: number
}

/** As KVM leaves it for KVM_EXIT_IO. */
export function ioPage({ direction, size, port, count, dataOffset }: Io): RunPage {
  const page = new RunPage(new ArrayBuffer(PAGE))
  page.view.setUint32(8, KVM_EXIT_IO, true)
  page.view.setUint8(32, direction)
  page.view.setUint8(33, size)
  page.view.setUint16(34, port, true)
  page.view.setUint32(36, count, true)
  page.view.setBigUint64(40, BigInt(dataOffset), true)
  return page
}

/** As KVM leaves it for KVM_EXIT_MMIO. */
export function mmioPage(address: bigint, length: number, isWrite: boolean, data: bigint): RunPage {
  const page = new RunPage(new ArrayBuffer(PAGE))
  page.view.setUint32(8, KVM_EXIT_MMIO, true)
  page.view.setBigUint64(32, address, true)
  page.view.setBigUint64(40, data, true)
  page.view.setUint32(48, length, true)
  page.view.setUint8(52, isWrite ? 1 : 0)
  return page
}
