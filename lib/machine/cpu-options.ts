import { FEATURES } from '../arch/x86-64/cpu-features.js'
import { CPU_MODELS, type CpuModel } from '../arch/x86-64/cpu-models.js'
import { apicId, type CpuTopology, flatTopology } from '../arch/x86-64/cpu-topology.js'
import { invalidOption } from '../errors.js'
import * as check from './option-checks.js'

/** How a machine's vCPUs look to its guest; the product is their number. */
export interface TopologyOptions {
  /** From 1 to 4096. 1 unless told. */
  sockets?: number
  /** Cores of each socket, from 1 to 4096. As many as `cpus` leaves unless told. */
  cores?: number
  /** Threads of each core, from 1 to 4096. 1 unless told. */
  threads?: number
}

/** What a guest's processors are: a model's name, or that with changes. */
export type CpuOptions =
  | CpuModelName
  | {
      /** `'host'` unless told. */
      model?: CpuModelName
      /**
       * Features to have, or not, whatever the model says, by their names in /proc/cpuinfo: `{ avx512f: false }`. What needs
       * one that is taken away goes with it. KVM's own are `kvmclock`, `kvm_steal_time`, `kvm_pv_eoi`, `kvm_asyncpf` and so on.
       */
      features?: Readonly<Record<string, boolean>>
    }

/**
 * `'host'` has all that the host and its KVM have. The others are the same on every host of one vendor, so that a guest
 * can go from one to another: the levels of the x86-64 psABI, v1 the least that 64-bit systems run on.
 */
export type CpuModelName = (typeof CPU_MODELS)[number]

const checkFeatures: check.Check<Readonly<Record<string, boolean>>> = (given, name) => {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw invalidOption(name, given, 'an object of features, each true or false')
  }
  const features = Object.entries(given as Readonly<Record<string, unknown>>)
  for (const [feature, on] of features) {
    const option = `${name}.${feature}`
    if (!FEATURES.has(feature)) throw invalidOption(option, on, 'the name of a known CPU feature')
    check.boolean(on, option)
  }
  return Object.fromEntries(features) as Readonly<Record<string, boolean>>
}

const checkModelName = check.oneOf(...CPU_MODELS)
const checkModel = check.object({
  model: check.withDefault(checkModelName, 'host'),
  features: check.withDefault(checkFeatures, {}),
})

export const checkCpu: check.Check<CpuModel> = (given, name) =>
  typeof given === 'object' && given !== null
    ? checkModel(given, name)
    : { model: checkModelName(given, name), features: {} }

/** Above what any host has, and what a set of CPUs in the kernel's form holds. */
const MAX_HOST_CPU = 1023

/** For each vCPU the host CPUs that its thread may run on. */
export const checkCpuAffinity = check.list(
  'an array with an array of host CPUs for each vCPU',
  check.list('an array of host CPUs', check.integer(0, MAX_HOST_CPU)),
)

const count = check.integer(1, 4096)

export const checkTopology = check.object({
  sockets: check.withDefault(count, 1),
  cores: check.optional(count),
  threads: check.withDefault(count, 1),
})

/**
 * The number of vCPUs and their arrangement, either of which tells the other.
 * @throws VmmError `ERR_INVALID_OPTION` if they contradict each other
 */
export function arrangeCpus(
  cpus: number | undefined,
  topology: ReturnType<typeof checkTopology> | undefined,
): { cpus: number; topology: CpuTopology } {
  if (topology === undefined) return { cpus: cpus ?? 1, topology: flatTopology(cpus ?? 1) }
  const { sockets, threads } = topology
  const others = sockets * threads
  const cores = topology.cores ?? Math.max(1, Math.floor((cpus ?? others) / others))
  const product = others * cores
  if (cpus !== undefined && product !== cpus) {
    throw invalidOption(
      'topology',
      { sockets, cores, threads },
      `sockets × cores × threads to be cpus, which is ${cpus}; it is ${product}`,
    )
  }
  return { cpus: product, topology: { sockets, cores, threads } }
}

/** The local APIC ids of a machine's vCPUs, in order; KVM_CREATE_VCPU takes them as ids. */
export function apicIds(cpus: number, topology: CpuTopology): number[] {
  return Array.from({ length: cpus }, (_, vcpu) => apicId(vcpu, topology))
}
