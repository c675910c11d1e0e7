import { deviceCases } from './device.js'
import type { IoctlCase } from './ioctl-case.js'
import { systemCases } from './system.js'
import { vcpuCases } from './vcpu.js'
import { vcpuStateCases } from './vcpu-state.js'
import { vmCases } from './vm.js'
import { vmInterruptCases } from './vm-interrupts.js'
import { vmMemoryCases } from './vm-memory.js'

/** Every ioctl on every kind of descriptor that takes it. */
export const cases: IoctlCase[] = [
  ...systemCases,
  ...vmMemoryCases,
  ...vmInterruptCases,
  ...vmCases,
  ...vcpuStateCases,
  ...vcpuCases,
  ...deviceCases,
]
