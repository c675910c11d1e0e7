import type { Stop } from './debugger.js'
import { toHex } from './hex.js'

const SIGINT = 2
const SIGTRAP = 5
const SIGABRT = 6

const WATCH = { write: 'watch', read: 'rwatch', 'read-write': 'awatch' } as const

/** What of the client's features matters for how it is told. */
export interface StopFeatures {
  readonly swbreak: boolean
  readonly hwbreak: boolean
}

/** A vCPU's thread id; 0 and -1 have meanings of their own. */
export const threadId = (vcpu: number): string => toHex(vcpu + 1)

/** GDB manual, "Stop Reply Packets". */
export function stopReply(stop: Stop, features: StopFeatures): string {
  if (stop.kind === 'ended') return stop.status === 'exited' ? 'W00' : signal('X', SIGABRT)
  const number = stop.kind === 'interrupt' ? SIGINT : SIGTRAP
  return `${signal('T', number)}${reason(stop, features)}thread:${threadId(stop.vcpu)};`
}

function signal(packet: string, number: number): string {
  return packet + toHex(number).padStart(2, '0')
}

function reason(stop: Exclude<Stop, { kind: 'ended' }>, features: StopFeatures): string {
  switch (stop.kind) {
    case 'software-breakpoint':
      return features.swbreak ? 'swbreak:;' : ''
    case 'hardware-breakpoint':
      return features.hwbreak ? 'hwbreak:;' : ''
    case 'watchpoint':
      return `${WATCH[stop.access]}:${toHex(stop.address)};`
    default:
      return ''
  }
}
