import type { MachineConfig, VirtualMachine } from '../../index.js'

/** All that is known of a machine, as plain data. */
export function inspectMachine(vm: VirtualMachine): object {
  return plain({
    config: describeConfig(vm.config),
    devices: {
      disks: vm.disks.map(({ name, engine, counters }) => ({ name, engine, counters })),
      nets: vm.nets.map(({ name, mac, link, queuePairs, counters }) => {
        return { name, mac, link, queuePairs, counters }
      }),
      balloon: vm.balloon && { target: vm.balloon.target, actual: vm.balloon.actual },
      console: { lost: vm.console.output.lost },
    },
    stats: vm.stats(),
  }) as object
}

function describeConfig(config: MachineConfig): object {
  const { disks, nets, signal: _, log: __, attach: ___, ...rest } = config
  return {
    ...rest,
    disks: disks.map(({ backend, ...options }) => ({ backend: nameOf(backend), ...options })),
    nets: nets.map(({ backend, ...options }) => ({ backend: nameOf(backend), ...options })),
  }
}

const nameOf = (backend: object) => ('name' in backend ? backend.name : backend.constructor.name)

/** JSON has no bytes and no bigint. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return `${value.length} bytes`
  if (typeof value === 'bigint') return String(value)
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]))
}
