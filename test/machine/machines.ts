import { afterEach } from 'vitest'
import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { kernel } from './tiny-guest.js'

/**
 * Creates machines whose guests do some `code`, for the tests of a file: each is closed after its test.
 * @param usual options of all of them
 */
export function tinyMachines(usual: Partial<VirtualMachineOptions> = {}) {
  const machines: VirtualMachine[] = []
  afterEach(async () => {
    for (const vm of machines.splice(0)) await vm.close()
  })
  return async (code: number[][], options: Partial<VirtualMachineOptions> = {}) => {
    const vm = await VirtualMachine.create({
      kernel: kernel(...code),
      memory: '32M',
      ...usual,
      ...options,
    })
    machines.push(vm)
    return vm
  }
}
