import { array, nested, type StructOf, struct, u8, u32, u64 } from '../../util/struct.js'

/** One 8259A. */
export const KvmPicState = struct('kvm_pic_state', 16, {
  last_irr: u8(0),
  irr: u8(1),
  imr: u8(2),
  isr: u8(3),
  priority_add: u8(4),
  irq_base: u8(5),
  read_reg_select: u8(6),
  poll: u8(7),
  special_mask: u8(8),
  init_state: u8(9),
  auto_eoi: u8(10),
  rotate_on_auto_eoi: u8(11),
  special_fully_nested_mode: u8(12),
  init4: u8(13),
  elcr: u8(14),
  elcr_mask: u8(15),
})
export type KvmPicState = StructOf<typeof KvmPicState>

export const KVM_IOAPIC_NUM_PINS = 24

/** The IOAPIC. An entry of `redirtbl` is the register pair of the 82093AA's datasheet. */
export const KvmIoapicState = struct('kvm_ioapic_state', 216, {
  base_address: u64(0),
  ioregsel: u32(8),
  id: u32(12),
  irr: u32(16),
  redirtbl: array(u64, 24, KVM_IOAPIC_NUM_PINS),
})
export type KvmIoapicState = StructOf<typeof KvmIoapicState>

/** KVM_GET_IRQCHIP, KVM_SET_IRQCHIP. `chip_id` says which of `pic` and `ioapic` counts. */
export const KvmIrqchip = struct('kvm_irqchip', 520, {
  chip_id: u32(0),
  pic: nested(KvmPicState, 8),
  ioapic: nested(KvmIoapicState, 8),
})
export type KvmIrqchip = StructOf<typeof KvmIrqchip>
export const KVM_IRQCHIP_PIC_MASTER = 0
export const KVM_IRQCHIP_PIC_SLAVE = 1
export const KVM_IRQCHIP_IOAPIC = 2

/** KVM_IRQ_LINE, KVM_IRQ_LINE_STATUS. */
export const KvmIrqLevel = struct('kvm_irq_level', 8, { irq: u32(0), level: u32(4) })
export type KvmIrqLevel = StructOf<typeof KvmIrqLevel>

/** KVM_SIGNAL_MSI. */
export const KvmMsi = struct('kvm_msi', 32, {
  address_lo: u32(0),
  address_hi: u32(4),
  data: u32(8),
  flags: u32(12),
  devid: u32(16),
})
export type KvmMsi = StructOf<typeof KvmMsi>
export const KVM_MSI_VALID_DEVID = 1

/** `struct kvm_irq_routing_irqchip`. */
export const KvmIrqRoutingIrqchip = struct('kvm_irq_routing_irqchip', 8, {
  irqchip: u32(0),
  pin: u32(4),
})
/** `struct kvm_irq_routing_msi`. */
export const KvmIrqRoutingMsi = struct('kvm_irq_routing_msi', 16, {
  address_lo: u32(0),
  address_hi: u32(4),
  data: u32(8),
  devid: u32(12),
})
/** `struct kvm_irq_routing_hv_sint`. */
export const KvmIrqRoutingHvSint = struct('kvm_irq_routing_hv_sint', 8, {
  vcpu: u32(0),
  sint: u32(4),
})
/** `struct kvm_irq_routing_xen_evtchn`. */
export const KvmIrqRoutingXenEvtchn = struct('kvm_irq_routing_xen_evtchn', 12, {
  port: u32(0),
  vcpu: u32(4),
  priority: u32(8),
})

/** One route of KVM_SET_GSI_ROUTING. `type` says which of the last four fields counts. */
export const KvmIrqRoutingEntry = struct('kvm_irq_routing_entry', 48, {
  gsi: u32(0),
  type: u32(4),
  flags: u32(8),
  irqchip: nested(KvmIrqRoutingIrqchip, 16),
  msi: nested(KvmIrqRoutingMsi, 16),
  hv_sint: nested(KvmIrqRoutingHvSint, 16),
  xen_evtchn: nested(KvmIrqRoutingXenEvtchn, 16),
})
export type KvmIrqRoutingEntry = StructOf<typeof KvmIrqRoutingEntry>
/** The header of KVM_SET_GSI_ROUTING's list. */
export const KvmIrqRouting = struct('kvm_irq_routing', 8, { nr: u32(0), flags: u32(4) })
export const KVM_IRQ_ROUTING_IRQCHIP = 1
export const KVM_IRQ_ROUTING_MSI = 2
export const KVM_IRQ_ROUTING_HV_SINT = 4
export const KVM_IRQ_ROUTING_XEN_EVTCHN = 5
export const KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL = 0xffffffff

/** KVM_IRQFD. */
export const KVM_IRQFD_FLAG_DEASSIGN = 1
export const KVM_IRQFD_FLAG_RESAMPLE = 2

/** KVM_IOEVENTFD. */
export const KVM_IOEVENTFD_FLAG_DATAMATCH = 1
export const KVM_IOEVENTFD_FLAG_PIO = 2
export const KVM_IOEVENTFD_FLAG_DEASSIGN = 4
