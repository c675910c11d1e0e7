import {
  binding,
  type NativeAddressSpace,
  type NativeEventFd,
  type NativeTap,
  type NativeVhostNet,
  type VhostRing,
} from '../../binding.js'
import { KvmError, VmmError } from '../../errors.js'
import type { RingServer, ServedRing } from './net-backend.js'

const VERSION_1 = 1n << 32n
/**
 * The virtio features in which vhost-net has a part: mergeable buffers (15), indirect descriptors (28), event indices
 * (29), VIRTIO_F_VERSION_1 and order (35). Not packed rings, which would be set up in another way.
 */
const OURS = (1n << 15n) | (1n << 28n) | (1n << 29n) | VERSION_1 | (1n << 35n)

/** One ring that is served, and eventfds of ours: for where the transport has none, and for what vhost-net gives up at. */
interface Service {
  readonly kick: NativeEventFd
  readonly call: NativeEventFd
  readonly error: NativeEventFd
  ring: ServedRing | undefined
}

const events = ({ kick, call, error }: Service) => [kick, call, error]

/** Those whose owner was collected before anything closed them; an eventfd that is watched lives on by itself. */
const orphans = new FinalizationRegistry<readonly NativeEventFd[]>((natives) => {
  for (const native of natives) native.close()
})

/**
 * Opens vhost-net once for each queue pair.
 * @throws VmmError `ERR_NET` if this host has none, or does not let this process use it
 */
export function openVhostNet(queuePairs: number): NativeVhostNet[] {
  const opened: NativeVhostNet[] = []
  try {
    for (let i = 0; i < queuePairs; i++) {
      const native = new (binding().VhostNet)()
      opened.push(native)
      if ((native.features & VERSION_1) === 0n)
        throw trouble('is too old', 'a vhost-net that knows VIRTIO_F_VERSION_1')
    }
    return opened
  } catch (error) {
    for (const native of opened) native.close()
    throw error instanceof KvmError ? openTrouble(error) : error
  }
}

function openTrouble(error: KvmError): VmmError {
  const { code, syscall } = error
  if (syscall !== 'open')
    return trouble(`cannot be used (${syscall} ${code})`, 'a vhost-net that works', error)
  return code === 'EACCES' || code === 'EPERM'
    ? trouble('may not be used', 'access to /dev/vhost-net', error)
    : trouble('is not there', 'a host with the vhost_net module loaded', error)
}

function trouble(what: string, expected: string, cause?: KvmError): VmmError {
  return new VmmError('ERR_NET', `vhost: /dev/vhost-net ${what}: expected ${expected}`, {
    ...{ option: 'vhost', value: true, expected },
    ...(cause && { cause }),
  })
}

/** What all of them know of the features that {@link VhostNet.agree} takes. */
export const vhostFeatures = (natives: readonly NativeVhostNet[]): bigint =>
  natives.reduce((features, native) => features & native.features, OURS)

/** vhost-net between the rings of one queue pair and one queue of a TAP. */
export class VhostNet implements RingServer {
  readonly #native: NativeVhostNet
  readonly #tap: NativeTap
  readonly #memory: NativeAddressSpace
  readonly #services: readonly [Service, Service]
  #closed = false

  constructor(native: NativeVhostNet, tap: NativeTap, memory: NativeAddressSpace) {
    this.#native = native
    this.#tap = tap
    this.#memory = memory
    this.#services = [newService(), newService()]
    orphans.register(this, this.#services.flatMap(events))
  }

  agree(features: bigint): void {
    if (!this.#closed) this.#native.setFeatures(features & OURS)
  }

  start(index: VhostRing, ring: ServedRing, next: number): void {
    if (this.#closed) return
    const { size, descriptorArea, driverArea, deviceArea } = ring
    const native = this.#native
    const { kick, call, error } = this.#listen(index)
    this.#services[index].ring = ring
    try {
      native.setMemory(this.#memory)
      native.setRing(index, size, next, descriptorArea, driverArea, deviceArea)
      native.setEvents(index, (ring.kick ?? kick).fd, (ring.call ?? call).fd, error.fd)
      native.setBackend(index, this.#tap)
    } catch (failure) {
      this.#release(index)
      throw failure
    }
  }

  stop(index: VhostRing): number {
    if (this.#closed) return 0
    this.#native.setBackend(index, undefined)
    const next = this.#native.position(index)
    this.#release(index)
    return next
  }

  redirect(index: VhostRing): void {
    const { ring, call } = this.#services[index]
    if (ring !== undefined) this.#native.setEvents(index, undefined, (ring.call ?? call).fd)
  }

  kick(index: VhostRing): void {
    const { ring, kick } = this.#services[index]
    if (ring !== undefined) (ring.kick ?? kick).signal()
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    // The kernel has let go of the rings when this returns.
    this.#native.close()
    for (const event of this.#services.flatMap(events)) event.close()
  }

  /** What is watched must not keep this alive: a machine that nobody holds any more is collected. */
  #listen(index: VhostRing): Service {
    const service = this.#services[index]
    const self = new WeakRef(this)
    const onRing = (act: (ring: ServedRing) => void) => () => {
      const living = self.deref()
      if (living === undefined) return
      const { ring } = living.#services[index]
      if (ring) act(ring)
    }
    service.call.watch(onRing((ring) => ring.called()))
    service.error.watch(onRing((ring) => ring.broken('vhost-net cannot go on from what it holds')))
    return service
  }

  #release(index: VhostRing): void {
    const service = this.#services[index]
    const { ring, call, error } = service
    service.ring = undefined
    this.#native.setEvents(index, -1, -1, -1)
    call.unwatch()
    error.unwatch()
    error.take()
    // Raised just now, and not heard any more.
    if (call.take() > 0) ring?.called()
  }
}

function newService(): Service {
  const { EventFd } = binding()
  return { kick: new EventFd(), call: new EventFd(), error: new EventFd(), ring: undefined }
}
