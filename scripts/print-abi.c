/*
 * Prints the KVM ABI as the headers of this machine have it, one line each:
 *
 *   size STRUCT BYTES
 *   field STRUCT FIELD OFFSET BYTES
 *   value NAME NUMBER
 *
 * A test compiles and runs it, and compares what it prints with the layouts and constants in
 * lib/kvm/abi/. What the headers lack is left out: constants by #ifdef in the generated list,
 * structs by HAVE_* below.
 */
#include <linux/kvm.h>
#include <stddef.h>
#include <stdio.h>

#define SIZE(name, type) printf("size %s %zu\n", name, sizeof(type))
#define FIELD(name, type, field) \
  printf("field %s %s %zu %zu\n", name, #field, offsetof(type, field), sizeof(((type *)0)->field))
#define RENAMED(name, type, field, ours) \
  printf("field %s %s %zu %zu\n", name, ours, offsetof(type, field), sizeof(((type *)0)->field))

#define KVM_STRUCT(s) SIZE(#s, struct s)
#define F(s, field) FIELD(#s, struct s, field)

static void registers(void) {
  KVM_STRUCT(kvm_regs);
  F(kvm_regs, rax), F(kvm_regs, rbx), F(kvm_regs, rcx), F(kvm_regs, rdx), F(kvm_regs, rsi);
  F(kvm_regs, rdi), F(kvm_regs, rsp), F(kvm_regs, rbp), F(kvm_regs, r8), F(kvm_regs, r9);
  F(kvm_regs, r10), F(kvm_regs, r11), F(kvm_regs, r12), F(kvm_regs, r13), F(kvm_regs, r14);
  F(kvm_regs, r15), F(kvm_regs, rip), F(kvm_regs, rflags);
  KVM_STRUCT(kvm_segment);
  F(kvm_segment, base), F(kvm_segment, limit), F(kvm_segment, selector), F(kvm_segment, type);
  F(kvm_segment, present), F(kvm_segment, dpl), F(kvm_segment, db), F(kvm_segment, s);
  F(kvm_segment, l), F(kvm_segment, g), F(kvm_segment, avl), F(kvm_segment, unusable);
  KVM_STRUCT(kvm_dtable);
  F(kvm_dtable, base), F(kvm_dtable, limit);
#define SREGS(s)                                                                   \
  KVM_STRUCT(s);                                                                   \
  F(s, cs), F(s, ds), F(s, es), F(s, fs), F(s, gs), F(s, ss), F(s, tr), F(s, ldt); \
  F(s, gdt), F(s, idt), F(s, cr0), F(s, cr2), F(s, cr3), F(s, cr4), F(s, cr8);     \
  F(s, efer), F(s, apic_base)
  SREGS(kvm_sregs);
  F(kvm_sregs, interrupt_bitmap);
  SREGS(kvm_sregs2);
  F(kvm_sregs2, flags), F(kvm_sregs2, pdptrs);
  KVM_STRUCT(kvm_fpu);
  F(kvm_fpu, fpr), F(kvm_fpu, fcw), F(kvm_fpu, fsw), F(kvm_fpu, ftwx), F(kvm_fpu, last_opcode);
  F(kvm_fpu, last_ip), F(kvm_fpu, last_dp), F(kvm_fpu, xmm), F(kvm_fpu, mxcsr);
  KVM_STRUCT(kvm_debugregs);
  F(kvm_debugregs, db), F(kvm_debugregs, dr6), F(kvm_debugregs, dr7), F(kvm_debugregs, flags);
  KVM_STRUCT(kvm_xcr);
  F(kvm_xcr, xcr), F(kvm_xcr, value);
  KVM_STRUCT(kvm_xcrs);
  F(kvm_xcrs, nr_xcrs), F(kvm_xcrs, flags), F(kvm_xcrs, xcrs);
}

static void lists(void) {
  KVM_STRUCT(kvm_cpuid_entry);
  F(kvm_cpuid_entry, function), F(kvm_cpuid_entry, eax), F(kvm_cpuid_entry, ebx);
  F(kvm_cpuid_entry, ecx), F(kvm_cpuid_entry, edx);
  KVM_STRUCT(kvm_cpuid_entry2);
  F(kvm_cpuid_entry2, function), F(kvm_cpuid_entry2, index), F(kvm_cpuid_entry2, flags);
  F(kvm_cpuid_entry2, eax), F(kvm_cpuid_entry2, ebx), F(kvm_cpuid_entry2, ecx);
  F(kvm_cpuid_entry2, edx);
  KVM_STRUCT(kvm_cpuid2);
  F(kvm_cpuid2, nent);
  KVM_STRUCT(kvm_msr_entry);
  F(kvm_msr_entry, index), F(kvm_msr_entry, data);
  KVM_STRUCT(kvm_msrs);
  F(kvm_msrs, nmsrs);
  KVM_STRUCT(kvm_pmu_event_filter);
  F(kvm_pmu_event_filter, action), F(kvm_pmu_event_filter, nevents);
  F(kvm_pmu_event_filter, fixed_counter_bitmap), F(kvm_pmu_event_filter, flags);
}

static void vcpu_state(void) {
  KVM_STRUCT(kvm_mp_state);
  F(kvm_mp_state, mp_state);
  KVM_STRUCT(kvm_vcpu_events);
  F(kvm_vcpu_events, exception), F(kvm_vcpu_events, interrupt), F(kvm_vcpu_events, nmi);
  F(kvm_vcpu_events, sipi_vector), F(kvm_vcpu_events, flags), F(kvm_vcpu_events, smi);
  F(kvm_vcpu_events, triple_fault), F(kvm_vcpu_events, exception_has_payload);
  F(kvm_vcpu_events, exception_payload);
#define EVENT(part, field) \
  RENAMED("kvm_vcpu_events." #part, __typeof__(((struct kvm_vcpu_events *)0)->part), field, #field)
  EVENT(exception, injected), EVENT(exception, nr), EVENT(exception, has_error_code);
  EVENT(exception, pending), EVENT(exception, error_code);
  EVENT(interrupt, injected), EVENT(interrupt, nr), EVENT(interrupt, soft);
  EVENT(interrupt, shadow);
  EVENT(nmi, injected), EVENT(nmi, pending), EVENT(nmi, masked);
  EVENT(smi, smm), EVENT(smi, pending), EVENT(smi, smm_inside_nmi), EVENT(smi, latched_init);
  EVENT(triple_fault, pending);
  KVM_STRUCT(kvm_guest_debug);
  F(kvm_guest_debug, control);
  RENAMED("kvm_guest_debug", struct kvm_guest_debug, arch.debugreg, "debugreg");
  KVM_STRUCT(kvm_interrupt);
  F(kvm_interrupt, irq);
  KVM_STRUCT(kvm_translation);
  F(kvm_translation, linear_address), F(kvm_translation, physical_address);
  F(kvm_translation, valid), F(kvm_translation, writeable), F(kvm_translation, usermode);
  KVM_STRUCT(kvm_tpr_access_ctl);
  F(kvm_tpr_access_ctl, enabled), F(kvm_tpr_access_ctl, flags);
  KVM_STRUCT(kvm_vapic_addr);
  F(kvm_vapic_addr, vapic_addr);
  KVM_STRUCT(kvm_x86_mce);
  F(kvm_x86_mce, status), F(kvm_x86_mce, addr), F(kvm_x86_mce, misc);
  F(kvm_x86_mce, mcg_status), F(kvm_x86_mce, bank);
  RENAMED("kvm_vmx_nested_state_hdr.smm", __typeof__(((struct kvm_vmx_nested_state_hdr *)0)->smm),
          flags, "flags");
  KVM_STRUCT(kvm_vmx_nested_state_hdr);
  F(kvm_vmx_nested_state_hdr, vmxon_pa), F(kvm_vmx_nested_state_hdr, vmcs12_pa);
  F(kvm_vmx_nested_state_hdr, smm), F(kvm_vmx_nested_state_hdr, flags);
  F(kvm_vmx_nested_state_hdr, preemption_timer_deadline);
  KVM_STRUCT(kvm_svm_nested_state_hdr);
  F(kvm_svm_nested_state_hdr, vmcb_pa);
  KVM_STRUCT(kvm_nested_state);
  F(kvm_nested_state, flags), F(kvm_nested_state, format), F(kvm_nested_state, size);
  RENAMED("kvm_nested_state", struct kvm_nested_state, hdr.vmx, "vmx");
  RENAMED("kvm_nested_state", struct kvm_nested_state, hdr.svm, "svm");
}

static void interrupts(void) {
  KVM_STRUCT(kvm_pic_state);
  F(kvm_pic_state, last_irr), F(kvm_pic_state, irr), F(kvm_pic_state, imr);
  F(kvm_pic_state, isr), F(kvm_pic_state, priority_add), F(kvm_pic_state, irq_base);
  F(kvm_pic_state, read_reg_select), F(kvm_pic_state, poll), F(kvm_pic_state, special_mask);
  F(kvm_pic_state, init_state), F(kvm_pic_state, auto_eoi);
  F(kvm_pic_state, rotate_on_auto_eoi), F(kvm_pic_state, special_fully_nested_mode);
  F(kvm_pic_state, init4), F(kvm_pic_state, elcr), F(kvm_pic_state, elcr_mask);
  KVM_STRUCT(kvm_ioapic_state);
  F(kvm_ioapic_state, base_address), F(kvm_ioapic_state, ioregsel), F(kvm_ioapic_state, id);
  F(kvm_ioapic_state, irr), F(kvm_ioapic_state, redirtbl);
  KVM_STRUCT(kvm_irqchip);
  F(kvm_irqchip, chip_id);
  RENAMED("kvm_irqchip", struct kvm_irqchip, chip.pic, "pic");
  RENAMED("kvm_irqchip", struct kvm_irqchip, chip.ioapic, "ioapic");
  KVM_STRUCT(kvm_irq_level);
  F(kvm_irq_level, irq), F(kvm_irq_level, level);
  KVM_STRUCT(kvm_msi);
  F(kvm_msi, address_lo), F(kvm_msi, address_hi), F(kvm_msi, data), F(kvm_msi, flags);
  F(kvm_msi, devid);
  KVM_STRUCT(kvm_irq_routing_irqchip);
  F(kvm_irq_routing_irqchip, irqchip), F(kvm_irq_routing_irqchip, pin);
  KVM_STRUCT(kvm_irq_routing_msi);
  F(kvm_irq_routing_msi, address_lo), F(kvm_irq_routing_msi, address_hi);
  F(kvm_irq_routing_msi, data), F(kvm_irq_routing_msi, devid);
  KVM_STRUCT(kvm_irq_routing_hv_sint);
  F(kvm_irq_routing_hv_sint, vcpu), F(kvm_irq_routing_hv_sint, sint);
  KVM_STRUCT(kvm_irq_routing_xen_evtchn);
  F(kvm_irq_routing_xen_evtchn, port), F(kvm_irq_routing_xen_evtchn, vcpu);
  F(kvm_irq_routing_xen_evtchn, priority);
  KVM_STRUCT(kvm_irq_routing_entry);
  F(kvm_irq_routing_entry, gsi), F(kvm_irq_routing_entry, type);
  F(kvm_irq_routing_entry, flags);
#define ROUTE(f) RENAMED("kvm_irq_routing_entry", struct kvm_irq_routing_entry, u.f, #f)
  ROUTE(irqchip), ROUTE(msi), ROUTE(hv_sint), ROUTE(xen_evtchn);
  KVM_STRUCT(kvm_irq_routing);
  F(kvm_irq_routing, nr), F(kvm_irq_routing, flags);
  KVM_STRUCT(kvm_pit_channel_state);
  F(kvm_pit_channel_state, count), F(kvm_pit_channel_state, latched_count);
  F(kvm_pit_channel_state, count_latched), F(kvm_pit_channel_state, status_latched);
  F(kvm_pit_channel_state, status), F(kvm_pit_channel_state, read_state);
  F(kvm_pit_channel_state, write_state), F(kvm_pit_channel_state, write_latch);
  F(kvm_pit_channel_state, rw_mode), F(kvm_pit_channel_state, mode);
  F(kvm_pit_channel_state, bcd), F(kvm_pit_channel_state, gate);
  F(kvm_pit_channel_state, count_load_time);
  KVM_STRUCT(kvm_pit_state);
  F(kvm_pit_state, channels);
  KVM_STRUCT(kvm_pit_state2);
  F(kvm_pit_state2, channels), F(kvm_pit_state2, flags);
  KVM_STRUCT(kvm_pit_config);
  F(kvm_pit_config, flags);
  KVM_STRUCT(kvm_reinject_control);
  F(kvm_reinject_control, pit_reinject);
}

static void vm(void) {
  KVM_STRUCT(kvm_enable_cap);
  F(kvm_enable_cap, cap), F(kvm_enable_cap, flags), F(kvm_enable_cap, args);
  KVM_STRUCT(kvm_clock_data);
  F(kvm_clock_data, clock), F(kvm_clock_data, flags), F(kvm_clock_data, realtime);
  F(kvm_clock_data, host_tsc);
  KVM_STRUCT(kvm_dirty_gfn);
  F(kvm_dirty_gfn, flags), F(kvm_dirty_gfn, slot), F(kvm_dirty_gfn, offset);
  KVM_STRUCT(kvm_coalesced_mmio_zone);
  F(kvm_coalesced_mmio_zone, addr), F(kvm_coalesced_mmio_zone, size);
  F(kvm_coalesced_mmio_zone, pio);
  KVM_STRUCT(kvm_coalesced_mmio);
  F(kvm_coalesced_mmio, phys_addr), F(kvm_coalesced_mmio, len), F(kvm_coalesced_mmio, pio);
  F(kvm_coalesced_mmio, data);
  KVM_STRUCT(kvm_coalesced_mmio_ring);
  F(kvm_coalesced_mmio_ring, first), F(kvm_coalesced_mmio_ring, last);
  KVM_STRUCT(kvm_stats_header);
  F(kvm_stats_header, flags), F(kvm_stats_header, name_size), F(kvm_stats_header, num_desc);
  F(kvm_stats_header, id_offset), F(kvm_stats_header, desc_offset);
  F(kvm_stats_header, data_offset);
  KVM_STRUCT(kvm_stats_desc);
  F(kvm_stats_desc, flags), F(kvm_stats_desc, exponent), F(kvm_stats_desc, size);
  F(kvm_stats_desc, offset), F(kvm_stats_desc, bucket_size);
#ifdef KVM_SET_MEMORY_ATTRIBUTES
  KVM_STRUCT(kvm_memory_attributes);
  F(kvm_memory_attributes, address), F(kvm_memory_attributes, size);
  F(kvm_memory_attributes, attributes), F(kvm_memory_attributes, flags);
#endif
#ifdef KVM_PRE_FAULT_MEMORY
  KVM_STRUCT(kvm_pre_fault_memory);
  F(kvm_pre_fault_memory, gpa), F(kvm_pre_fault_memory, size), F(kvm_pre_fault_memory, flags);
#endif
  KVM_STRUCT(kvm_xen_hvm_attr);
  F(kvm_xen_hvm_attr, type);
#define HVM(f, ours) RENAMED("kvm_xen_hvm_attr", struct kvm_xen_hvm_attr, u.f, ours)
  HVM(long_mode, "long_mode"), HVM(vector, "vector"), HVM(shared_info.gfn, "shared_info_gfn");
  HVM(evtchn, "evtchn"), HVM(xen_version, "xen_version");
#define EVTCHN(field)                                                                             \
  RENAMED("kvm_xen_hvm_attr.evtchn", __typeof__(((struct kvm_xen_hvm_attr *)0)->u.evtchn), field, \
          #field)
  EVTCHN(send_port), EVTCHN(type), EVTCHN(flags);
#define TIMER(field)                                                                              \
  RENAMED("kvm_xen_vcpu_attr.timer", __typeof__(((struct kvm_xen_vcpu_attr *)0)->u.timer), field, \
          #field)
  TIMER(port), TIMER(priority), TIMER(expires_ns);
  KVM_STRUCT(kvm_xen_vcpu_attr);
  F(kvm_xen_vcpu_attr, type);
#define XVCPU(f) RENAMED("kvm_xen_vcpu_attr", struct kvm_xen_vcpu_attr, u.f, #f)
  XVCPU(gpa), XVCPU(runstate), XVCPU(vcpu_id), XVCPU(timer), XVCPU(vector);
}

static void run(void) {
  KVM_STRUCT(kvm_run);
  F(kvm_run, request_interrupt_window), F(kvm_run, immediate_exit), F(kvm_run, exit_reason);
  F(kvm_run, ready_for_interrupt_injection), F(kvm_run, if_flag), F(kvm_run, flags);
  F(kvm_run, cr8), F(kvm_run, apic_base), F(kvm_run, hw), F(kvm_run, ex), F(kvm_run, io);
  RENAMED("kvm_run", struct kvm_run, debug.arch, "debug");
  F(kvm_run, mmio), F(kvm_run, tpr_access), F(kvm_run, internal);
  F(kvm_run, system_event), F(kvm_run, eoi), F(kvm_run, hyperv), F(kvm_run, xen);
  F(kvm_run, msr), F(kvm_run, notify), F(kvm_run, kvm_valid_regs), F(kvm_run, kvm_dirty_regs);
  RENAMED("kvm_run", struct kvm_run, s.regs, "sync_regs");
#define IN(part, field) \
  RENAMED("kvm_run." #part, __typeof__(((struct kvm_run *)0)->part), field, #field)
  F(kvm_run, fail_entry), F(kvm_run, hypercall), F(kvm_run, emulation_failure);
  IN(hw, hardware_exit_reason);
  IN(fail_entry, hardware_entry_failure_reason), IN(fail_entry, cpu);
  IN(ex, exception), IN(ex, error_code);
  IN(io, direction), IN(io, size), IN(io, port), IN(io, count), IN(io, data_offset);
  IN(mmio, phys_addr), IN(mmio, data), IN(mmio, len), IN(mmio, is_write);
  IN(hypercall, nr), IN(hypercall, args), IN(hypercall, ret);
  IN(tpr_access, rip), IN(tpr_access, is_write);
  IN(internal, suberror), IN(internal, ndata), IN(internal, data);
  IN(emulation_failure, suberror), IN(emulation_failure, ndata), IN(emulation_failure, flags);
  IN(emulation_failure, insn_size), IN(emulation_failure, insn_bytes);
  IN(system_event, type), IN(system_event, ndata), IN(system_event, data);
  IN(eoi, vector);
  IN(msr, error), IN(msr, reason), IN(msr, index), IN(msr, data);
  IN(notify, flags);
  KVM_STRUCT(kvm_debug_exit_arch);
  F(kvm_debug_exit_arch, exception), F(kvm_debug_exit_arch, pc), F(kvm_debug_exit_arch, dr6);
  F(kvm_debug_exit_arch, dr7);
  KVM_STRUCT(kvm_hyperv_exit);
  F(kvm_hyperv_exit, type);
#define HYPERV(f) RENAMED("kvm_hyperv_exit", struct kvm_hyperv_exit, u.f, #f)
  HYPERV(synic), HYPERV(hcall), HYPERV(syndbg);
#define HV_IN(part, field)                                                                    \
  RENAMED("kvm_hyperv_exit." #part, __typeof__(((struct kvm_hyperv_exit *)0)->u.part), field, \
          #field)
  HV_IN(synic, msr), HV_IN(synic, control), HV_IN(synic, evt_page), HV_IN(synic, msg_page);
  HV_IN(hcall, input), HV_IN(hcall, result), HV_IN(hcall, params);
  HV_IN(syndbg, msr), HV_IN(syndbg, control), HV_IN(syndbg, status), HV_IN(syndbg, send_page);
  HV_IN(syndbg, recv_page), HV_IN(syndbg, pending_page);
#define XEN_IN(field) \
  RENAMED("kvm_xen_exit.hcall", __typeof__(((struct kvm_xen_exit *)0)->u.hcall), field, #field)
  XEN_IN(longmode), XEN_IN(cpl), XEN_IN(input), XEN_IN(result), XEN_IN(params);
  KVM_STRUCT(kvm_xen_exit);
  F(kvm_xen_exit, type);
  RENAMED("kvm_xen_exit", struct kvm_xen_exit, u.hcall, "hcall");
  KVM_STRUCT(kvm_sync_regs);
  F(kvm_sync_regs, regs), F(kvm_sync_regs, sregs), F(kvm_sync_regs, events);
#ifdef KVM_EXIT_MEMORY_FAULT
  F(kvm_run, memory_fault);
  IN(memory_fault, flags), IN(memory_fault, gpa), IN(memory_fault, size);
#endif
#ifdef KVM_EXIT_TDX
  F(kvm_run, tdx);
  IN(tdx, flags), IN(tdx, nr);
#endif
#ifdef KVM_EXIT_SNP_REQ_CERTS
  F(kvm_run, snp_req_certs);
  KVM_STRUCT(kvm_exit_snp_req_certs);
  F(kvm_exit_snp_req_certs, gpa), F(kvm_exit_snp_req_certs, npages), F(kvm_exit_snp_req_certs, ret);
#endif
}

static void memory_encryption(void) {
  KVM_STRUCT(kvm_sev_cmd);
  F(kvm_sev_cmd, id), F(kvm_sev_cmd, data), F(kvm_sev_cmd, error), F(kvm_sev_cmd, sev_fd);
}

int main(void) {
  registers();
  lists();
  vcpu_state();
  interrupts();
  vm();
  run();
  memory_encryption();
/* `#ifdef NAME` / VALUE(NAME) / `#endif` for every constant, written by the test. */
#define VALUE(name) printf("value %s %llu\n", #name, (unsigned long long)(name));
  /* Enumerators, which #ifdef does not see: those that Linux 6.1 has. */
  VALUE(KVM_SEV_INIT)
  VALUE(KVM_SEV_LAUNCH_FINISH)
  VALUE(KVM_SEV_RECEIVE_FINISH)
  VALUE(KVM_SEV_DBG_ENCRYPT)
  VALUE(KVM_SEV_SEND_CANCEL)
#ifdef ABI_VALUES
#include ABI_VALUES
#endif
  return 0;
}
