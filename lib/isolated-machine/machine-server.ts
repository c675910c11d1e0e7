import type { Duplex } from 'node:stream'
import type { InheritedDisk } from '../backends/block/inherited-disk.js'
import { VmmError } from '../errors.js'
import type { Answer, Channel, ChannelEvents } from '../isolation/channel.js'
import type { ChannelStream } from '../isolation/channel-stream.js'
import type { Content } from '../isolation/frames.js'
import { fromJsonForm } from '../machine/isolated/json-form.js'
import {
  CONSOLE_PIECE,
  type DiskForm,
  type MachineForm,
  type NetForm,
} from '../machine/isolated/protocol.js'
import { stopReasonForm } from '../machine/isolated/stop-reason-form.js'
import type { MachineConfig } from '../machine/machine-config.js'
import { VirtualMachine } from '../machine/virtual-machine.js'
import { diskConfig } from './served-disk.js'
import { netConfig, ServedNet } from './served-net.js'
import { takeSnapshot } from './take-snapshot.js'
import { VsockServer } from './vsock-server.js'

/** Milliseconds between two looks at whether there is something new to tell. */
const TELL_EVERY = 250

type Values = Readonly<Record<string, unknown>>

/** Runs one machine for a program in another process. */
export class MachineServer {
  onGone = (): void => {}
  readonly #channel: Channel
  #vm: VirtualMachine | undefined
  #vsock: VsockServer | undefined
  #told = ''
  /** What the guest has said is on its way when these have resolved. */
  #outputs: Promise<void>[] = []
  readonly #disks = new Map<string | number, { setCapacity(capacity: number): void }>()
  readonly #nets = new Map<number, ServedNet>()

  /** @param connect makes the channel to the program */
  constructor(connect: (events: ChannelEvents) => Channel) {
    this.#channel = connect({
      message: (name, content) => this.#message(name, content),
      request: (name, content) => this.#request(name, content),
      opened: (name, content, stream) => this.#opened(name, content, stream),
      closed: () => this.onGone(),
    })
  }

  async #create(form: unknown): Promise<Answer> {
    const given = fromJsonForm(form) as Omit<MachineConfig, 'disks' | 'nets'> & MachineForm
    const config = {
      ...given,
      disks: given.disks.map((disk, i) => this.#disk(disk, `block${i}`)),
      nets: given.nets.map((net) => this.#net(net)),
    }
    const vm = await VirtualMachine.fromConfig(config)
    this.#vm = vm
    this.#outputs.push(this.#pass('console', vm.console.output))
    if (vm.debugcon) this.#outputs.push(this.#pass('debugcon', vm.debugcon))
    for (const [port, { output }] of vm.virtioConsole?.ports.entries() ?? []) {
      output.pipe(this.#channel.open('port', { port }))
    }
    if (vm.vsock) this.#vsock = new VsockServer(vm.vsock, this.#channel)
    vm.on('warning', (warning) => this.#event('warning', warning))
    vm.on('reset', () => this.#event('reset'))
    void vm.stopped.then(async (reason) => {
      await this.#flush()
      this.#channel.send('stopped', stopReasonForm(reason))
    })
    setInterval(() => this.#tell(), TELL_EVERY).unref()
    return { value: takeSnapshot(vm) }
  }

  #disk(form: DiskForm, name: string) {
    const config = diskConfig(form, this.#channel)
    const { backend } = config
    this.#disks.set('served' in form.disk ? form.disk.served : name, backend as InheritedDisk)
    return config
  }

  #net(form: NetForm) {
    const config = netConfig(form, this.#channel)
    const { backend } = config
    if (backend instanceof ServedNet) this.#nets.set(backend.number, backend)
    return config
  }

  async #request(name: string, { value, bytes }: Content): Promise<Answer> {
    if (name === 'create') return await this.#create(value)
    const vm = this.#machine
    const values = (value ?? {}) as Values
    const answer = await this.#perform(vm, name, values, bytes)
    this.#tell()
    return { value: answer }
  }

  async #perform(
    vm: VirtualMachine,
    name: string,
    values: Values,
    bytes: Uint8Array,
  ): Promise<unknown> {
    switch (name) {
      case 'input': {
        const { port } = values as { port?: number }
        const input = port === undefined ? vm.console.input : vm.virtioConsole?.ports[port]?.input
        await new Promise<void>((resolve, reject) => {
          input?.write(bytes, (error) => (error ? reject(error) : resolve()))
        })
        return undefined
      }
      case 'pause':
        if (vm.state === 'running') await vm.pause()
        return undefined
      case 'reset':
        if (vm.state !== 'stopped') await vm.reset()
        return undefined
      case 'end':
        await vm.stop()
        await this.#flush()
        return undefined
      case 'plugDisk': {
        const { disk, ...others } = values as unknown as DiskForm
        const config = this.#disk({ ...others, disk }, '')
        return (await vm.plugDisk(config as never)).name
      }
      case 'plugNet': {
        const config = this.#net(values as unknown as NetForm)
        return (await vm.plugNet(config as never)).name
      }
      case 'unplug':
        await vm.unplug(this.#device(values))
        return undefined
      case 'resizeMemory':
        await vm.virtioMem?.resize(values.size as number)
        return undefined
      case 'balloonStatistics':
        return await vm.balloon?.statistics()
      case 'gdb.hold':
        await vm.gdb.stub.hold()
        return undefined
      default:
        throw new VmmError('ERR_ISOLATION', `there is no request ${name}`)
    }
  }

  #message(name: string, content: Content): void {
    const values = (content.value ?? {}) as Values
    if (name === 'close') {
      void this.#close()
      return
    }
    const vm = this.#machine
    if (this.#vsock?.message(name, values)) return
    switch (name) {
      case 'run':
        if (vm.state === 'created') void vm.start().catch(() => {})
        else if (vm.state === 'paused') void vm.resume().catch(() => {})
        return
      case 'powerButton':
        vm.shutdown().catch(() => {})
        return
      case 'gdb.release':
        vm.gdb.stub.release()
        return
      case 'setLimits':
        this.#device(values).setLimits(values.limits as object)
        return
      case 'setLink':
        this.#card(values)?.setLink(values.up === true)
        this.#tell()
        return
      case 'announce':
        this.#card(values)?.announce()
        return
      case 'net.link':
        this.#nets.get(values.net as number)?.linkChanged(values.up === true)
        return
      case 'disk.resized':
        this.#disks.get(values.disk as string | number)?.setCapacity(values.capacity as number)
        return
      case 'balloon':
        if (vm.balloon) vm.balloon.target = values.target as number
        return
      case 'resize':
        vm.virtioConsole?.resize(values.columns as number, values.rows as number)
    }
  }

  #opened(name: string, content: Content, stream: ChannelStream): void {
    if (name === 'gdb') void this.#machine.gdb.stub.serve(stream).finally(() => stream.destroy())
    else if (name === 'vsock' && this.#vsock) this.#vsock.connect(content, stream)
    else stream.destroy()
  }

  async #close(): Promise<void> {
    await this.#vm?.close().catch(() => {})
    this.onGone()
  }

  get #machine(): VirtualMachine {
    if (this.#vm) return this.#vm
    throw new VmmError('ERR_ISOLATION', 'there is no machine yet')
  }

  #device({ device }: Values) {
    const { disks, nets } = this.#machine
    const found = [...disks, ...nets].find(({ name }) => name === device)
    if (found) return found
    throw new VmmError('ERR_ISOLATION', `there is no device ${device}`)
  }

  #card({ device }: Values) {
    return this.#machine.nets.find(({ name }) => name === device)
  }

  /** Tells what the handles show, if it is something new. */
  #tell(): void {
    const vm = this.#vm
    if (!vm || vm.state === 'closed') return
    const snapshot = takeSnapshot(vm)
    const text = JSON.stringify(snapshot)
    if (text === this.#told) return
    this.#told = text
    this.#channel.send('state', snapshot)
  }

  /** Whoever hears of it sees what it is about. */
  #event(name: string, value?: unknown): void {
    this.#tell()
    this.#channel.send(name, value)
  }

  /** After the guest's end: what it has said, and what it has done, to the last. */
  async #flush(): Promise<void> {
    await Promise.all(this.#outputs)
    this.#tell()
  }

  async #pass(from: string, output: Duplex | NodeJS.ReadableStream): Promise<void> {
    for await (const chunk of output as AsyncIterable<Buffer>) {
      for (let at = 0; at < chunk.length; at += CONSOLE_PIECE) {
        this.#channel.send('output', { from }, chunk.subarray(at, at + CONSOLE_PIECE))
      }
      await this.#channel.drained()
    }
  }
}
