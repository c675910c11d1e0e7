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
  readonly rip: bigint
  readonly rsi?: bigint
  readonly rbx?: bigint
  readonly rax?: bigint
  readonly rsp?: bigint
  readonly cr0: bigint
  readonly cr3: bigint
  readonly cr4: bigint
  readonly efer: bigint
  readonly cs: Segment
  /** DS, ES, FS, GS and SS. */
  readonly data: Segment
  readonly tr: Segment
  readonly gdt: { readonly base: bigint; readonly limit: number }
  readonly idt: { readonly base: bigint; readonly limit: number }
}
