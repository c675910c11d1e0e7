import type { Readable } from 'node:stream'
import { ConsoleOutput } from '../../backends/char/console-output.js'
import type { ChannelStream } from '../../isolation/channel-stream.js'
import { type Content, violation } from '../../isolation/frames.js'
import { openAgent } from '../agent.js'
import type { VmDisk, VmNet } from '../device-handles.js'
import type { MachineConfig } from '../machine-config.js'
import type { MachineHandles } from '../machine-handles.js'
import * as check from '../option-checks.js'
import {
  RemoteBalloon,
  RemoteDisk,
  RemoteInput,
  type RemoteMachine,
  RemoteNet,
  RemoteVirtioConsole,
  RemoteVirtioMem,
} from './remote-handles.js'
import { RemoteVsock } from './remote-vsock.js'

const checkPort = check.object({ port: check.integer(0, 30) })

/** The same with what the engine does to them. */
export interface RemoteHandles extends MachineHandles {
  readonly disks: VmDisk[]
  readonly nets: VmNet[]
  readonly vsock: RemoteVsock | undefined
  readonly debugcon: ConsoleOutput | undefined
  /** The guest has ended, for this reason: whoever waits for the agent is told. */
  endAgent(reason: string): void
}

/** What the guest writes to a virtio console, by port: streams that are there before the machine is. */
export class ConsolePorts {
  readonly #outputs = new Map<number, ChannelStream>()

  /** @throws VmmError for a port that is none, or is there already */
  take({ value }: Content, stream: ChannelStream): void {
    const { port } = checkPort(value, 'port')
    if (this.#outputs.has(port)) throw violation('a port that there is already')
    this.#outputs.set(port, stream)
  }

  /** @throws VmmError if one is not there */
  of(names: readonly string[]): { name: string; output: Readable }[] {
    return ['console', ...names].map((name, i) => {
      const output = this.#outputs.get(i)
      if (output === undefined) throw violation('a console without its ports')
      return { name, output }
    })
  }
}

/** The handles of a machine that `machine` reaches. */
export function openHandles(
  config: MachineConfig,
  machine: RemoteMachine,
  ports: ConsolePorts,
): RemoteHandles {
  const output = new ConsoleOutput({ capacity: config.consoleBufferSize })
  const vsock = config.vsock && new RemoteVsock(config.vsock.cid, machine)
  const { virtioConsole, virtioMem } = config
  const { debugcon } = config.devices
  return {
    console: { output, input: new RemoteInput(machine.channel, undefined) },
    disks: config.disks.map((_, i) => new RemoteDisk(`block${i}`, machine)),
    nets: config.nets.map(({ backend }, i) => new RemoteNet(`net${i}`, machine, backend)),
    vsock,
    virtioConsole: virtioConsole && new RemoteVirtioConsole(machine, ports.of(virtioConsole.ports)),
    balloon: config.balloon && new RemoteBalloon(machine),
    virtioMem: virtioMem && new RemoteVirtioMem(virtioMem, machine),
    debugcon: debugcon && new ConsoleOutput({ capacity: debugcon.bufferSize }),
    ...openAgent(config, vsock),
  }
}
