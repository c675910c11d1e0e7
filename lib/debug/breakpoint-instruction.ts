import type { DebugSupport } from './debug-support.js'

/** A port that no PC has: it is the operand of the instruction below. */
const BREAKPOINT_PORT = 0xe6

/** What stands in the guest's code for a breakpoint. */
export interface BreakpointInstruction {
  readonly bytes: readonly number[]
  /** Where it writes, if that is how it is told of. */
  readonly port: number | undefined
}

const INT3: BreakpointInstruction = { bytes: [0xcc], port: undefined }

/**
 * OUT to a port, which exits on every KVM. It has a byte more than INT3, which a jump might land on, and user mode may
 * not execute it: only for where INT3 does not exit.
 */
const OUT: BreakpointInstruction = { bytes: [0xe6, BREAKPOINT_PORT], port: BREAKPOINT_PORT }

export function breakpointInstruction({ int3 }: DebugSupport): BreakpointInstruction {
  return int3 ? INT3 : OUT
}
