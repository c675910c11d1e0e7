import { type HostFeature, probeHostFeatures } from './host-features.js'
import { type KvmFinding, probeKvm } from './kvm-probe.js'

/** What this machine can do for virtual machines. */
export interface Diagnosis {
  /** What /dev/kvm can do. */
  readonly kvm: KvmFinding
  /** What else the host may have. */
  readonly features: readonly HostFeature[]
}

/**
 * Looks at this machine. Takes half a second at most.
 * @throws VmmError `ERR_PLATFORM` or `ERR_ADDON`
 */
export async function diagnose(): Promise<Diagnosis> {
  return { kvm: probeKvm(), features: probeHostFeatures() }
}

/** Whether stock kernels run on this machine's KVM, and if not, why: a quick look, of milliseconds mostly. */
export async function kvmUsable(): Promise<{ usable: boolean; why: string }> {
  const { state, detail } = probeKvm({ quick: true })
  return { usable: state === 'fine', why: detail }
}

/** A diagnosis as lines for people. */
export function formatDiagnosis({ kvm, features }: Diagnosis): string {
  return [{ name: 'KVM', ...kvm }, ...features]
    .flatMap(({ name, state, detail, remedy }) => [
      `${remedy ? '✗' : '✓'} ${name}: ${state}: ${detail}`,
      ...(remedy ? [`    ${remedy}`] : []),
    ])
    .join('\n')
}
