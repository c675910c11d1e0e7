import { array, nested, type StructOf, s64, struct, u8, u16, u32 } from '../../util/struct.js'

/** One channel of the 8254. */
export const KvmPitChannelState = struct('kvm_pit_channel_state', 24, {
  count: u32(0),
  latched_count: u16(4),
  count_latched: u8(6),
  status_latched: u8(7),
  status: u8(8),
  read_state: u8(9),
  write_state: u8(10),
  write_latch: u8(11),
  rw_mode: u8(12),
  mode: u8(13),
  bcd: u8(14),
  gate: u8(15),
  count_load_time: s64(16),
})
export type KvmPitChannelState = StructOf<typeof KvmPitChannelState>

/** KVM_GET_PIT, KVM_SET_PIT. */
export const KvmPitState = struct('kvm_pit_state', 72, {
  channels: array((offset) => nested(KvmPitChannelState, offset), 0, 3),
})
export type KvmPitState = StructOf<typeof KvmPitState>

/** KVM_GET_PIT2, KVM_SET_PIT2. */
export const KvmPitState2 = struct('kvm_pit_state2', 112, {
  channels: array((offset) => nested(KvmPitChannelState, offset), 0, 3),
  flags: u32(72),
})
export type KvmPitState2 = StructOf<typeof KvmPitState2>
export const KVM_PIT_FLAGS_HPET_LEGACY = 0x00000001
export const KVM_PIT_FLAGS_SPEAKER_DATA_ON = 0x00000002

/** KVM_CREATE_PIT2. */
export const KvmPitConfig = struct('kvm_pit_config', 64, { flags: u32(0) })
export type KvmPitConfig = StructOf<typeof KvmPitConfig>
export const KVM_PIT_SPEAKER_DUMMY = 1

/** KVM_REINJECT_CONTROL. */
export const KvmReinjectControl = struct('kvm_reinject_control', 32, { pit_reinject: u8(0) })
export type KvmReinjectControl = StructOf<typeof KvmReinjectControl>
