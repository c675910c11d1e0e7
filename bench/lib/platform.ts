import { cpus, release } from 'node:os'
import { INSIDE_VARIABLE } from '../../lib/testing.js'

/** The machine that a benchmark is run on. */
export function host(kvm: string): { cpu: string; cpus: number; node: string; kvm: string } {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpus: cpus().length,
    node: process.version,
    kvm,
  }
}

/** Where this process measures, in words. */
export function platform(): string {
  const where = process.env[INSIDE_VARIABLE] ? 'emulated KVM host (QEMU TCG)' : 'this machine'
  return `${where}, ${cpus().length} CPUs, Linux ${release()}, Node ${process.version}`
}
