import type { ExitTally } from './exit-stats.js'
import type { AccessStatistics, VcpuStatistics, VmStatistics } from './vm-stats.js'

/** Lines of each table: what comes after them took hardly any time. */
const LINES = 15

const HEAD = ['exits', 'answered by JavaScript', 'ms in all', 'µs each']

/** The statistics as text: a table of exits by reason, by port, by address, and one of the vCPUs. */
export function formatStats(stats: VmStatistics): string {
  const { exits, ports, mmio, otherAccesses, coalescedWrites, vcpus } = stats
  const reasons = exits.map((exit) => [exit.reason, ...tallyCells(exit)])
  const others: string[][] =
    otherAccesses.count > 0 ? [['others', '', '', ...tallyCells(otherAccesses)]] : []
  const tables = [
    table(['exit reason', ...HEAD], reasons),
    table(['port', 'access', 'device', ...HEAD], ports.map(accessCells)),
    table(['address', 'access', 'device', ...HEAD], [...mmio.map(accessCells), ...others]),
    coalescedWrites > 0 ? `${coalescedWrites} writes to ports made no exit\n` : '',
    table(['vCPU', ...Object.keys(COUNTERS)], vcpus.map(vcpuCells)),
  ]
  return tables.filter((text) => text !== '').join('\n')
}

const COUNTERS: Readonly<Record<string, (vcpu: VcpuStatistics) => number>> = {
  exits: (vcpu) => vcpu.exits,
  latched: (vcpu) => vcpu.latched,
  posted: (vcpu) => vcpu.posted,
  'answered by JavaScript': (vcpu) => vcpu.synchronous,
  kicks: (vcpu) => vcpu.kicks,
}

function vcpuCells(vcpu: VcpuStatistics, index: number): string[] {
  return [`${index}`, ...Object.values(COUNTERS).map((counter) => `${counter(vcpu)}`)]
}

function accessCells(access: AccessStatistics): string[] {
  const { address, direction, device = '-' } = access
  return [`0x${address.toString(16)}`, direction, device, ...tallyCells(access)]
}

function tallyCells({ count, synchronous, nanoseconds }: ExitTally): string[] {
  return [
    `${count}`,
    `${synchronous}`,
    (nanoseconds / 1e6).toFixed(1),
    (nanoseconds / 1e3 / Math.max(count, 1)).toFixed(1),
  ]
}

/** Columns of equal width; numbers to the right. Nothing if there are no rows. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return ''
  const shown = [head, ...rows.slice(0, LINES)]
  const widths = head.map((_, column) => Math.max(...shown.map((row) => row[column]!.length)))
  const lines = shown.map((row) =>
    row
      .map((cell, column) =>
        /^[\d.]+$/.test(rows[0]![column]!) && column > 0
          ? cell.padStart(widths[column]!)
          : cell.padEnd(widths[column]!),
      )
      .join('  ')
      .trimEnd(),
  )
  if (rows.length > LINES) lines.push(`… and ${rows.length - LINES} more`)
  return `${lines.join('\n')}\n`
}
