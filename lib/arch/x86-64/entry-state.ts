/** A segment register with its hidden part, as `struct kvm_segment` has it. */
export interface Segment {
  readonly base: bigint
  readonly limit: number
  readonly selector: number
  readonly type: number
  readonly present: number
  readonly dpl: number
  readonly db: number
  readonly s: number
  readonly l: number
  readonly g: number
}

/**
 * The state a vCPU enters the guest in. Registers that are not named keep their reset values,
 * but for the general ones, which are 0.
 */
export interface EntryState {
  /** Where it begins to execute. */
  readonly rip: bigint
  /** What a boot protocol hands over here: the zero page of Linux. */
  readonly rsi?: bigint
  /** What a boot protocol hands over here: the information of PVH and Multiboot. */
  readonly rbx?: bigint
  /** What a boot protocol hands over here: the magic number of Multiboot. */
  readonly rax?: bigint
  /** Its stack. */
  readonly rsp?: bigint
  /** Paging and protection. */
  readonly cr0: bigint
  /** Physical address of the page tables. */
  readonly cr3: bigint
  /** Extensions, such as PAE. */
  readonly cr4: bigint
  /** The MSR with long mode. */
  readonly efer: bigint
  /** The code segment. */
  readonly cs: Segment
  /** DS, ES, FS, GS and SS. */
  readonly data: Segment
  /** The task register. */
  readonly tr: Segment
  /** The global descriptor table: address, and bytes less one. */
  readonly gdt: { readonly base: bigint; readonly limit: number }
  /** The interrupt descriptor table: address, and bytes less one. */
  readonly idt: { readonly base: bigint; readonly limit: number }
}
