import type { Snapshot } from '../machine/isolated/protocol.js'
import type { VirtualMachine } from '../machine/virtual-machine.js'

/** What a machine's handles show now. */
export function takeSnapshot(vm: VirtualMachine): Snapshot {
  const { disks, nets, vsock, virtioConsole, balloon, virtioMem } = vm
  return {
    stats: vm.stats(),
    disks: disks.map(({ name, engine, counters }) => ({ name, engine, counters: { ...counters } })),
    nets: nets.map((card) => {
      const { name, mac, link, queuePairs, vhost, announces, counters } = card
      return { name, mac, link, queuePairs, vhost, announces, counters: { ...counters } }
    }),
    vsock: vsock?.counters,
    virtioConsole: virtioConsole && {
      counters: virtioConsole.counters,
      ports: virtioConsole.ports.map(({ lost, guestOpen }) => ({ lost, guestOpen })),
    },
    balloon: balloon && {
      actual: balloon.actual,
      target: balloon.target,
      counters: balloon.counters,
    },
    virtioMem: virtioMem && {
      requested: virtioMem.requested,
      plugged: virtioMem.plugged,
      counters: virtioMem.counters,
    },
  }
}
