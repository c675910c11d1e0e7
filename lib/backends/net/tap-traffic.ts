import { readFileSync } from 'node:fs'
import type { NetTraffic } from './net-backend.js'

/** The guest's traffic by the interface's statistics, in which the guest's sending is the host's receiving. */
export function interfaceTraffic(name: string, before: NetTraffic | undefined): NetTraffic {
  const read = (file: string): number => {
    try {
      return Number(readFileSync(`/sys/class/net/${name}/statistics/${file}`, 'utf8'))
    } catch {
      return 0 // it has been deleted
    }
  }
  const since = (file: string, start = 0) => Math.max(read(file) - start, 0)
  return {
    txFrames: since('rx_packets', before?.txFrames),
    txDropped: since('rx_dropped', before?.txDropped),
    rxFrames: since('tx_packets', before?.rxFrames),
    rxBytes: since('tx_bytes', before?.rxBytes),
    rxDropped: since('tx_dropped', before?.rxDropped),
  }
}
