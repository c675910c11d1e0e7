import { type StructOf, s16, struct, u16, u32 } from '../../util/struct.js'

/** The start of a statistics descriptor (KVM_GET_STATS_FD). Offsets are bytes from its start. */
export const KvmStatsHeader = struct('kvm_stats_header', 24, {
  flags: u32(0),
  name_size: u32(4),
  num_desc: u32(8),
  id_offset: u32(12),
  desc_offset: u32(16),
  data_offset: u32(20),
})
export type KvmStatsHeader = StructOf<typeof KvmStatsHeader>

/** One statistic's description; its name of `name_size` bytes follows. */
export const KvmStatsDesc = struct('kvm_stats_desc', 16, {
  flags: u32(0),
  exponent: s16(4),
  size: u16(6),
  offset: u32(8),
  bucket_size: u32(12),
})
export type KvmStatsDesc = StructOf<typeof KvmStatsDesc>

export const KVM_STATS_TYPE_MASK = 0xf
export const KVM_STATS_TYPE_CUMULATIVE = 0x0
export const KVM_STATS_TYPE_INSTANT = 0x1
export const KVM_STATS_TYPE_PEAK = 0x2
export const KVM_STATS_TYPE_LINEAR_HIST = 0x3
export const KVM_STATS_TYPE_LOG_HIST = 0x4
export const KVM_STATS_UNIT_MASK = 0xf0
export const KVM_STATS_UNIT_NONE = 0x00
export const KVM_STATS_UNIT_BYTES = 0x10
export const KVM_STATS_UNIT_SECONDS = 0x20
export const KVM_STATS_UNIT_CYCLES = 0x30
export const KVM_STATS_UNIT_BOOLEAN = 0x40
export const KVM_STATS_BASE_MASK = 0xf00
export const KVM_STATS_BASE_POW10 = 0x000
export const KVM_STATS_BASE_POW2 = 0x100
