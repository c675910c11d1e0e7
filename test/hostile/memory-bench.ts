import { Bus } from '../../lib/bus/bus.js'
import {
  VIRTIO_MMIO_WINDOW,
  VirtioMmioTransport,
} from '../../lib/devices/virtio/transport/virtio-mmio.js'
import type { VmFd } from '../../lib/kvm/vm-fd.js'
import { createConsole } from '../../lib/machine/console.js'
import { attachLegacyDevices } from '../../lib/machine/legacy-devices.js'
import { parseConfig } from '../../lib/machine/machine-config.js'
import { openBackends } from '../../lib/machine/open-backends.js'
import { createVirtioMem } from '../../lib/machine/virtio-mem.js'
import { createGuestMemory, type MappedGuestMemory } from '../../lib/memory/mapping.js'
import { Cleanup } from '../../lib/util/cleanup.js'
import { SkippingClock } from '../../lib/util/skipping-clock.js'
import { CountingIrq, turns, until } from '../helpers/virtio-driver.js'
import {
  type Bench,
  benchMachine,
  HOT_MEMORY_SIZE,
  HOT_MEMORY_START,
  SLOTS,
  windowOf,
} from './bench.js'
import type { Script, Step } from './script.js'
import { ERRORS, MEMORY } from './script-guest.js'

/** What the guest did that a machine would have ended for. */
export type Ending = 'power-off' | 'reset'

/** Plays scripts without KVM, on the same devices, over memory with canaries at both ends. */
export async function memoryBench(): Promise<
  Bench & { readonly memory: MappedGuestMemory; readonly endings: Ending[]; readonly pio: Bus }
> {
  const { options, frames } = benchMachine()
  const cleanup = new Cleanup()
  const config = parseConfig(options)
  const hot = { guestAddress: HOT_MEMORY_START, size: HOT_MEMORY_SIZE, hotPluggable: true }
  const memory = createGuestMemory([{ guestAddress: 0, size: MEMORY }, hot], { canaries: true })
  cleanup.own(memory)
  const warnings: { device: string; reason: string }[] = []
  const errors: Error[] = []
  const endings: Ending[] = []
  const [pio, mmio] = [new Bus('pio'), new Bus('mmio')]
  // The lines of the interrupt controller, and the memory slots, which are KVM's, lead nowhere here.
  const irqchip = { line: () => new CountingIrq() }
  const vm = {
    setUserMemoryRegion: () => {},
    closed: true,
  } as unknown as VmFd
  const { devices: others } = await openBackends(config, cleanup, () => {})
  const { device: mem } = createVirtioMem({ vm, memory, resettable: [] }, config)!
  const devices = [...others, { device: mem }]
  for (const [slot, { device }] of devices.entries()) {
    const transport = new VirtioMmioTransport(device, {
      memory,
      irq: new CountingIrq(),
      packed: config.packedQueues,
      onNeedsReset: (reason) => warnings.push({ device: device.name, reason }),
      onError: (error) => errors.push(error),
    })
    cleanup.own(transport)
    mmio.attach(windowOf(SLOTS[slot]!), VIRTIO_MMIO_WINDOW, transport)
  }
  const console = createConsole(config, cleanup)
  console.output.resume()
  const platform = { irqchip, pio, memory, resettable: [], clock: new SkippingClock() }
  attachLegacyDevices(
    platform,
    console,
    { cpus: 1 },
    {
      onPowerOff: () => endings.push('power-off'),
      onReset: () => endings.push('reset'),
    },
  )
  const run = async (script: Script) => {
    const log: bigint[] = []
    for (const step of script.steps) await perform(step, memory, pio, mmio, log)
    await turns()
    if (errors.length > 0) throw new AggregateError(errors, 'a device failed')
    return log
  }
  const close = () => cleanup.run()
  return { form: 'memory', memory, warnings, frames, endings, pio, run, close }
}

async function perform(
  { op, address, value, extra }: Step,
  memory: MappedGuestMemory,
  pio: Bus,
  mmio: Bus,
  log: bigint[],
): Promise<void> {
  const width = Number(/\d+$/.exec(op)?.[0] ?? 0) / 8
  const inMemory = memory.findRegion(address, Math.max(width, 1)) !== undefined
  const load = () => {
    if (!inMemory) return width === 8 ? mmio.read64(address) : BigInt(mmio.read(address, width))
    const bytes = new Uint8Array(8)
    bytes.set(memory.view(address, width))
    return new DataView(bytes.buffer).getBigUint64(0, true)
  }
  if (op.startsWith('out')) pio.write(address, width, Number(BigInt.asUintN(32, value)))
  else if (op.startsWith('in')) log.push(BigInt(pio.read(address, width)))
  else if (op.startsWith('load')) log.push(load())
  else if (op.startsWith('wait')) await until(() => load() === value, 'what a script waits for')
  else if (op.startsWith('store')) {
    if (inMemory) {
      const bytes = new Uint8Array(8)
      new DataView(bytes.buffer).setBigUint64(0, value, true)
      memory.write(address, bytes.subarray(0, width))
    } else if (width === 8) mmio.write64(address, value)
    else mmio.write(address, width, Number(BigInt.asUintN(32, value)))
  } else if (op === 'add16') {
    const view = memory.dataView(address, 2)
    view.setUint16(0, (view.getUint16(0, true) + Number(value)) & 0xffff, true)
  } else if (op === 'compare') {
    const same =
      Buffer.compare(memory.read(address, extra), memory.read(Number(value), extra)) === 0
    if (!same)
      memory
        .dataView(ERRORS, 4)
        .setUint32(0, memory.dataView(ERRORS, 4).getUint32(0, true) + 1, true)
  } else throw new Error(`no ${op} without a processor`)
}
