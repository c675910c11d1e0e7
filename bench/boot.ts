/** Boot time: from a process's start, and from `VirtualMachine.create` in a warm process, to the guest's init. */
import { VirtualMachine } from '../lib/index.js'
import { print, rounds } from './lib/cli.js'
import { figure, interleave } from './lib/figure.js'
import { benchmarkGuest } from './lib/guest-assets.js'
import { GuestProcess, INIT_MARKER } from './lib/guest-process.js'
import {
  type GuestSpec,
  type Monitor,
  nodeKvm,
  qemuMicrovm,
  qemuMicrovmTuned,
  qemuQ35,
} from './lib/peers.js'

/** Seconds from the start of a monitor's process to init. */
async function fromProcessStart(monitor: Monitor, guest: GuestSpec): Promise<number> {
  const process = new GuestProcess(monitor.command(guest))
  try {
    return (await process.waitFor(INIT_MARKER)) / 1000
  } finally {
    await process.kill()
  }
}

/** Seconds from `create` to init, in this process. */
async function fromCreate(guest: GuestSpec): Promise<number> {
  const start = performance.now()
  await using vm = await VirtualMachine.create({
    kernel: guest.kernel,
    initrd: guest.initrd,
    commandLine: guest.commandLine,
    memory: `${guest.memoryMiB}M`,
  })
  let log = ''
  const reached = new Promise<number>((resolve, reject) => {
    vm.console.output.on('data', (data: Buffer) => {
      log += data.toString('latin1')
      if (log.includes(INIT_MARKER)) resolve((performance.now() - start) / 1000)
    })
    void vm.stopped.then((reason) => reject(new Error(`ended before init: ${reason.kind}\n${log}`)))
  })
  await vm.start()
  return await reached
}

const guest = await benchmarkGuest('nodekvm.mode=none')
await fromCreate(guest) // what the process does once only
const peers = [qemuMicrovm, qemuQ35, qemuMicrovmTuned]
const [ours, warm, ...theirs] = await interleave(rounds(5), [
  () => fromProcessStart(nodeKvm, guest),
  () => fromCreate(guest),
  ...peers.map((peer) => () => fromProcessStart(peer, guest)),
])

print([
  ...peers.map((peer, i) =>
    figure(
      'process start to init',
      's',
      // The tuned one is shown as a bar to come near to, not as what people run.
      peer === qemuMicrovmTuned ? undefined : { of: 'ratio', bound: 'at most', value: 1 },
      ours!,
      { name: peer.name, samples: theirs[i]! },
    ),
  ),
  figure(
    'create in a warm process to init',
    's',
    { of: 'ratio', bound: 'at most', value: 0.8 },
    warm!,
    { name: qemuQ35.name, samples: theirs[1]! },
  ),
])
