import type { VirtualMachine } from '../machine/virtual-machine.js'
import type { KvmStatistics } from '../machine/vm-stats.js'

const SECONDS = 1e-9

/**
 * What machines have done so far, in Prometheus's text format. A machine that is closed is left out.
 *
 * @example
 * ```ts
 * console.log(await metricsText([vm]))
 * // node_kvm_exits_total{machine="vm",reason="KVM_EXIT_IO"} 5012 …
 * ```
 */
export async function metricsText(machines: Iterable<VirtualMachine>): Promise<string> {
  const { default: client } = await import('prom-client')
  const { Counter, Gauge, Registry } = client
  const registry = new Registry()
  const registers = [registry]
  const counter = (name: string, help: string, ...labels: string[]) =>
    new Counter({ name, help, labelNames: ['machine', ...labels], registers })
  const gauge = (name: string, help: string, ...labels: string[]) =>
    new Gauge({ name, help, labelNames: ['machine', ...labels], registers })

  const up = gauge('node_kvm_machine_running', 'Whether its guest is running.')
  const exits = counter('node_kvm_exits_total', 'Exits of vCPUs, by KVM_EXIT_*.', 'reason')
  const time = counter(
    'node_kvm_exit_seconds_total',
    'Time out of the guest, by KVM_EXIT_*.',
    'reason',
  )
  const vcpu = counter(
    'node_kvm_vcpu_exits_total',
    'Exits by how they were handled.',
    'vcpu',
    'how',
  )
  const device = counter('node_kvm_device_total', 'What a device has counted.', 'device', 'counter')
  const kvm = gauge(
    'node_kvm_kvm_stat',
    "KVM's own statistics, of the VM or a vCPU.",
    'vcpu',
    'name',
  )

  for (const vm of machines) {
    if (vm.state === 'closed') continue
    const machine = vm.config.name
    const stats = vm.stats()
    up.set({ machine }, vm.state === 'running' ? 1 : 0)
    for (const { reason, count, nanoseconds } of stats.exits) {
      exits.inc({ machine, reason }, count)
      time.inc({ machine, reason }, nanoseconds * SECONDS)
    }
    for (const { name, counters } of stats.devices) {
      for (const [key, value] of Object.entries(counters)) {
        device.inc({ machine, device: name, counter: key }, value)
      }
    }
    const setKvm = (index: string, values: KvmStatistics) => {
      for (const [name, value] of Object.entries(values)) {
        if (typeof value === 'number') kvm.set({ machine, vcpu: index, name }, value)
      }
    }
    setKvm('', stats.kvm)
    for (const [index, { kvm: own, exits: _, ...handled }] of stats.vcpus.entries()) {
      for (const [how, count] of Object.entries(handled)) {
        if (typeof count === 'number') vcpu.inc({ machine, vcpu: `${index}`, how }, count)
      }
      setKvm(`${index}`, own)
    }
  }
  return registry.metrics()
}
