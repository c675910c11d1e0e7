import { availableParallelism, cpus, release } from 'node:os'
import { INSIDE_VARIABLE } from '../../lib/testing.js'

/** The machine that the benchmarks are run on. */
export interface Host {
  readonly cpu: string
  readonly cpus: number
  readonly node: string
  readonly kvm: string
}

export function host(kvm: string): Host {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpus: availableParallelism(),
    node: process.version,
    kvm,
  }
}

/** Where this process measures, in words. */
export function platform(): string {
  const kernel = /^\d+\.\d+/.exec(release())![0]
  const where = process.env[INSIDE_VARIABLE] ? 'emulated KVM host (QEMU TCG)' : 'this machine'
  return `${where}, ${availableParallelism()} CPUs, Linux ${kernel}, Node ${process.version}`
}
