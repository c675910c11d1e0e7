import { VirtioPciTransport } from '../devices/virtio/transport/virtio-pci.js'
import type { VirtioDevice } from '../devices/virtio/virtio-device.js'
import { KVM_CAP_IOEVENTFD_ANY_LENGTH } from '../kvm/abi/capabilities.js'
import type { VmFd } from '../kvm/vm-fd.js'
import type { IoeventfdOptions } from '../kvm/vm-interrupts.js'
import type { Cleanup } from '../util/cleanup.js'
import type { MachineConfig } from './machine-config.js'
import type { PciHost } from './pci-host.js'
import type { Platform } from './platform.js'
import { KickEvent } from './queue-kick.js'
import { transportOptions } from './transport-options.js'

/**
 * Plugs a virtio device into a PCI slot, with an ioeventfd for each queue, so that a kick costs the guest no exit to this
 * process.
 * @returns the transport, which is the caller's to close
 * @throws VmmError `ERR_PCI_SLOTS` if there is none, `ERR_KVM_UNSUPPORTED` if KVM has no interrupts left; KvmError
 */
export function plugVirtioPci(
  platform: Platform,
  pci: PciHost,
  device: VirtioDevice,
  config: MachineConfig,
  cleanup: Cleanup,
): VirtioPciTransport {
  const { vm } = platform
  const kicks: Kick[] = []
  const transport = new VirtioPciTransport(device, {
    ...transportOptions(platform, device, config),
    onKicks: (base) => {
      for (const [queue, kick] of kicks.entries()) {
        kick.moveTo(base === undefined ? undefined : base + transport.notifyOffset(queue))
      }
    },
  })
  // 0: a write of any width, which on Intel KVM sees without decoding the instruction.
  const length = vm.checkExtension(KVM_CAP_IOEVENTFD_ANY_LENGTH) ? 0 : 2
  for (let queue = 0; queue < transport.queueCount; queue++) {
    kicks.push(cleanup.own(new Kick(vm, length, transport, queue)))
  }
  transport.connectKicks(kicks)
  pci.bus.plug(transport)
  cleanup.defer(() => pci.bus.unplug(transport))
  return transport
}

/** An ioeventfd that follows a window. */
class Kick extends KickEvent {
  readonly #vm: VmFd
  readonly #length: 0 | 2
  #at: IoeventfdOptions | undefined

  constructor(vm: VmFd, length: 0 | 2, transport: VirtioPciTransport, queue: number) {
    super(transport, queue)
    this.#vm = vm
    this.#length = length
  }

  moveTo(address: number | undefined): void {
    const before = this.#at
    this.#at = undefined
    if (this.event.closed || this.#vm.closed) return
    if (before) this.#vm.deassignIoeventfd(this.event, before)
    if (address === undefined) return
    const at: IoeventfdOptions = { space: 'mmio', address, length: this.#length }
    try {
      this.#vm.ioeventfd(this.event, at)
      this.#at = at
    } catch {
      // KVM has room for 1000 of them. The device's own register does the same at the price of an exit.
    }
  }

  override close(): void {
    this.moveTo(undefined)
    super.close()
  }
}
