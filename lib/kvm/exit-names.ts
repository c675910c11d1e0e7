import * as exits from './abi/exits.js'

/** What begins like an exit reason's name, and is something else. */
const OTHERS = /^KVM_EXIT_(IO_(IN|OUT)|HYPERV_.*|XEN_.*|HYPERCALL_LONG_MODE)$/

const NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(exits).flatMap(([name, value]) =>
    name.startsWith('KVM_EXIT_') && !OTHERS.test(name) ? [[Number(value), name] as const] : [],
  ),
)

/** An exit reason as the KVM API spells it: `'KVM_EXIT_IO'` for 2; of one that is not known here, its number. */
export function exitReasonName(reason: number): string {
  return NAMES.get(reason) ?? `KVM_EXIT_${reason}`
}
