import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { until } from '../helpers/virtio-driver.js'
import { type Bench, benchMachine } from './bench.js'
import type { Script } from './script.js'
import { DONE, GO, LOG, SCRIPT, STEPS_MAX } from './script-guest.js'

/** Plays scripts by the processor of a machine. */
export async function exitBench(
  change: Partial<VirtualMachineOptions> = {},
): Promise<Bench & { readonly vm: VirtualMachine }> {
  const { options, frames } = benchMachine()
  const vm = await VirtualMachine.create({ ...options, ...change })
  const warnings: { device: string; reason: string }[] = []
  vm.on('warning', (warning) => {
    if (warning.kind === 'device-needs-reset') warnings.push(warning)
  })
  vm.console.output.resume()
  await vm.start()
  return {
    form: 'exits',
    vm,
    memory: vm.memory,
    warnings,
    frames,
    run: (script) => play(vm, script),
    close: () => vm.close(),
  }
}

/** Has the guest of `vm` play a script to its end. */
export async function play(vm: VirtualMachine, script: Script): Promise<bigint[]> {
  begin(vm, script)
  const done = word(vm, DONE)
  await until(() => Atomics.load(done, 0) === 1 || vm.state !== 'running', 'a script')
  if (vm.state !== 'running') throw new Error(`the guest is ${vm.state}`)
  const loads = script.steps.filter(({ op }) => /^(in|load)/.test(op)).length
  const log = vm.memory.dataView(LOG, 8 * Math.max(loads, 1))
  return Array.from({ length: loads }, (_, i) => log.getBigUint64(8 * i, true))
}

/** Has it begin, and does not wait. */
export function begin(vm: VirtualMachine, script: Script): void {
  if (script.steps.length > STEPS_MAX) throw new RangeError('the script is too long')
  script.write(vm.memory, SCRIPT)
  vm.memory.dataView(DONE, 4).setUint32(0, 0, true)
  Atomics.store(word(vm, GO), 0, 1)
}

function word(vm: VirtualMachine, address: number): Int32Array {
  const { buffer, byteOffset } = vm.memory.view(address, 4)
  return new Int32Array(buffer, byteOffset, 1)
}
