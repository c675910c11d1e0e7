import type { Bus } from '../bus/bus.js'
import { exitReasonName } from '../kvm/exit-names.js'
import type { Stat, StatsFd } from '../kvm/stats-fd.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'
import type { Cleanup } from '../util/cleanup.js'
import type { DeviceStatistics } from './device-stats.js'
import type { ExitCounts, ExitTally } from './exit-stats.js'
import type { Platform } from './platform.js'
import type { RunLoop, VcpuCounters } from './run-loop.js'

/** KVM's own statistics by name, as the kernel names them: a number, or a histogram's buckets. */
export type KvmStatistics = Readonly<Record<string, number | readonly number[]>>

/** Exits for one reason. */
export interface ExitStatistics extends ExitTally {
  /** As the KVM API spells it: `'KVM_EXIT_IO'`. */
  readonly reason: string
}

/** Exits for one port, or one address of a device's. */
export interface AccessStatistics extends ExitTally {
  /** The port, or the guest-physical address. */
  readonly address: number
  /** By the guest. */
  readonly direction: 'read' | 'write'
  /** The device that is there now; `undefined` where nothing is. */
  readonly device: string | undefined
}

/** One vCPU. */
export interface VcpuStatistics extends VcpuCounters {
  /** Empty where this host's KVM has no KVM_CAP_BINARY_STATS_FD. */
  readonly kvm: KvmStatistics
}

/**
 * What a machine's guest has made the host do, since it was created: plain data, which JSON can carry. Lists are sorted,
 * what took longest first.
 */
export interface VmStatistics {
  /** By reason, the most expensive first. */
  readonly exits: readonly ExitStatistics[]
  /** By port and direction. */
  readonly ports: readonly AccessStatistics[]
  /** By address and direction. */
  readonly mmio: readonly AccessStatistics[]
  /** Accesses to ports and addresses that the two lists have no room for: they hold about 500 for each vCPU. */
  readonly otherAccesses: ExitTally
  /** Writes to ports that reached their device without an exit of their own: KVM_CAP_COALESCED_PIO. */
  readonly coalescedWrites: number
  /** By their index. */
  readonly vcpus: readonly VcpuStatistics[]
  /** By their names. */
  readonly devices: readonly DeviceStatistics[]
  /** KVM's statistics of the VM; empty where this host's KVM has no KVM_CAP_BINARY_STATS_FD. */
  readonly kvm: KvmStatistics
}

/** Where the numbers come from. */
export interface StatsSources {
  readonly exits: ExitCounts
  readonly coalesced: number
  readonly vcpus: readonly VcpuCounters[]
  readonly devices: readonly DeviceStatistics[]
  readonly pio: Bus
  readonly mmio: Bus
  /** KVM's, of the VM and of each vCPU. */
  readonly vmStats: StatsFd | undefined
  readonly vcpuStats: readonly StatsFd[]
}

function collectStats(sources: StatsSources): VmStatistics {
  const { exits, coalesced, vcpus, devices, pio, mmio, vmStats, vcpuStats } = sources
  const reasons = [...exits.reasons].map(([reason, tally]) => ({
    reason: exitReasonName(reason),
    ...tally,
  }))
  return {
    exits: reasons.sort(byTime),
    ports: accesses(exits, pio),
    mmio: accesses(exits, mmio),
    otherAccesses: exits.others,
    coalescedWrites: coalesced,
    vcpus: vcpus.map((counters, index) => ({ ...counters, kvm: kvmStatistics(vcpuStats[index]) })),
    devices,
    kvm: kvmStatistics(vmStats),
  }
}

/**
 * Opens KVM's statistics: before the vCPUs run, as one that runs gives no descriptor.
 * @returns what adds all numbers up as they are then
 */
export function openStatistics(
  { vm, hasStats, pio, mmio }: Platform,
  vcpus: readonly VcpuFd[],
  cleanup: Cleanup,
): (runLoop: RunLoop, devices: readonly DeviceStatistics[]) => VmStatistics {
  const opened = hasStats ? [vm, ...vcpus].map((each) => cleanup.own(each.stats())) : []
  const [vmStats, ...vcpuStats] = opened
  return (runLoop, devices) =>
    collectStats({
      exits: runLoop.exitCounts(),
      coalesced: runLoop.coalesced,
      vcpus: runLoop.counters(),
      ...{ devices, pio, mmio, vmStats, vcpuStats },
    })
}

const byTime = (a: ExitTally, b: ExitTally) => b.nanoseconds - a.nanoseconds || b.count - a.count

function accesses({ places }: ExitCounts, bus: Bus): AccessStatistics[] {
  return places
    .filter(({ space }) => space === bus.kind)
    .map(({ space: _, ...place }) => ({ ...place, device: bus.find(place.address)?.device.name }))
    .sort(byTime)
}

function kvmStatistics(stats: StatsFd | undefined): KvmStatistics {
  const value = ({ values }: Stat) =>
    values.length === 1 ? Number(values[0]) : values.map((bucket) => Number(bucket))
  return Object.fromEntries((stats?.read() ?? []).map((stat) => [stat.name, value(stat)]))
}
