import type { NativeExitChannel } from '../binding.js'
import type { Bus, BusRange } from '../bus/bus.js'
import type { CauseRegisters, Latch } from '../bus/bus-device.js'
import { IoctlIrqLine } from '../interrupt/ioctl-irq.js'
import { RoutedCause } from './routed-cause.js'

/** Where KVM collects writes without an exit: KVM_CAP_COALESCED_PIO. */
export interface CoalescingZones {
  register(port: number): void
  unregister(port: number): void
}

export interface InstalledRoute {
  readonly id: number
  readonly range: BusRange
  readonly settling: readonly number[] | undefined
  /** Ports. */
  readonly zones: readonly number[]
  /** What the vCPUs' threads keep. */
  readonly cause: CauseRegisters | undefined
  installed: boolean
}

const NOT_LATCHED = -1

/** Keeps the native routes in step with what is on the buses: one for each range of a device that has shortcuts. */
export class DeviceRoutes {
  readonly #channel: NativeExitChannel
  readonly #zones: CoalescingZones | undefined
  readonly #byId = new Map<number, InstalledRoute>()
  readonly #byRange = new Map<BusRange, InstalledRoute>()
  readonly #unobserve: (() => void)[] = []

  /** Follows `buses` until `close()`. */
  constructor(channel: NativeExitChannel, buses: readonly Bus[], zones?: CoalescingZones) {
    this.#channel = channel
    this.#zones = zones
    try {
      for (const bus of buses) {
        this.#unobserve.push(
          bus.observe({
            attached: (range) => this.#install(bus, range),
            detached: (range) => this.#remove(range),
          }),
        )
      }
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** The route whose posted write carries `id`; `undefined` if its device has left the bus since. */
  find(id: number): InstalledRoute | undefined {
    return this.#byId.get(id)
  }

  /** A posted write has been handled. */
  handled({ id, settling, installed }: InstalledRoute, offset: number): void {
    if (settling?.includes(offset) && installed) this.#channel.settle(id)
  }

  /**
   * From here on latches do nothing. Before the channel closes. The zones stay, and go with the VM: to take one back makes
   * KVM wait for a grace period.
   */
  close(): void {
    for (const unobserve of this.#unobserve.splice(0)) unobserve()
    for (const route of [...this.#byRange.values()]) this.#forget(route)
  }

  #install(bus: Bus, range: BusRange): void {
    const shortcuts = range.device.shortcuts
    if (shortcuts === undefined) return
    const { posted = [], latched32 = [], coalesced = [] } = shortcuts
    const { settling, status, selected } = shortcuts
    const line = shortcuts.cause?.irq
    const vm = line instanceof IoctlIrqLine && !line.vm.closed ? line.vm : undefined
    const cause = vm && shortcuts.cause
    const latched = (shortcuts.latched ?? []).filter((offset) => offset !== cause?.told)
    const registers = [
      ...latched.flatMap((offset) => [offset, 1]),
      ...latched32.flatMap((offset) => [offset, 4]),
    ]
    const id = this.#channel.addRoute({
      space: bus.kind,
      base: range.base,
      size: range.end - range.base,
      posted: Uint32Array.from(posted),
      latched: Uint32Array.from(registers),
      settling: Uint32Array.from(settling ?? []),
      ...(status && { status }),
      ...(vm &&
        cause && {
          cause: { written: cause.written, told: cause.told, gsi: cause.irq.gsi, vm: vm.native },
        }),
      ...(selected && { selected }),
    })
    const collect = bus.kind === 'pio' && this.#zones !== undefined
    const zones = collect ? coalesced.map((offset) => range.base + offset) : []
    const route: InstalledRoute = { id, range, settling, zones, cause, installed: true }
    this.#byId.set(id, route)
    this.#byRange.set(range, route)
    try {
      for (const offset of [...latched, ...latched32]) {
        shortcuts.latch?.(offset, this.#latch(route, offset))
      }
      cause?.attach(new RoutedCause(this.#channel, id))
      for (const port of zones) this.#zones!.register(port)
      if (zones.length > 0) this.#channel.coalesce()
    } catch (error) {
      this.#remove(range)
      throw error
    }
  }

  #remove(range: BusRange): void {
    const route = this.#byRange.get(range)
    if (route === undefined) return
    this.#forget(route)
    for (const port of route.zones) this.#zones!.unregister(port)
  }

  #forget(route: InstalledRoute): void {
    route.cause?.attach(undefined)
    route.installed = false
    this.#byRange.delete(route.range)
    this.#byId.delete(route.id)
    this.#channel.removeRoute(route.id)
  }

  #latch(route: InstalledRoute, offset: number): Latch {
    return {
      set: (value) => {
        if (route.installed) this.#channel.setLatch(route.id, offset, value ?? NOT_LATCHED)
      },
    }
  }
}
