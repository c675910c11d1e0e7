import type { ReceiveFilter } from './net-backend.js'

const ETH_P_8021Q_HIGH = 0x81
const BROADCAST = 2 ** 48 - 1

/** Whether the guest has asked for such frames. Shorter than an Ethernet header: yes. */
export function wanted(filter: ReceiveFilter | undefined, frame: Uint8Array): boolean {
  if (filter === undefined || frame.length < 14) return true
  if (filter.vlans !== 'all' && frame.length >= 16) {
    // A priority tag of VLAN 0 is no VLAN.
    const tagged = frame[12] === ETH_P_8021Q_HIGH && frame[13] === 0
    const vlan = ((frame[14]! & 0x0f) << 8) | frame[15]!
    if (tagged && vlan !== 0 && (filter.vlans[vlan >> 3]! & (1 << (vlan & 7))) === 0) return false
  }
  let destination = 0
  for (let i = 0; i < 6; i++) destination = destination * 256 + frame[i]!
  if (destination === BROADCAST) return filter.broadcast
  const set = (frame[0]! & 1) === 0 ? filter.unicast : filter.multicast
  return set === 'all' || set.has(destination)
}
