/** Memory of a monitor's process besides the guest's RAM, with an idle guest that has reached init. */
import { print, rounds } from './lib/cli.js'
import { figure, interleave } from './lib/figure.js'
import { benchmarkGuest } from './lib/guest-assets.js'
import { GuestHere } from './lib/guest-here.js'
import { GuestProcess } from './lib/guest-process.js'
import { type Monitor, nodeKvm, qemuMicrovm, qemuQ35 } from './lib/peers.js'
import { memoryBesidesGuest } from './lib/process-memory.js'

const READY = 'node-kvm: ready'
const FURTHER = 3

const guest = await benchmarkGuest('nodekvm.mode=none')
const guestBytes = guest.memoryMiB * 2 ** 20

/** MiB of a process with one guest. */
async function ofProcess(monitor: Monitor): Promise<number> {
  await using process = new GuestProcess(monitor.command(guest))
  await process.waitFor(READY)
  return memoryBesidesGuest(process.pid, guestBytes) / 1024
}

async function bootHere(): Promise<GuestHere> {
  const here = await GuestHere.create(guest)
  await here.vm.start()
  await here.said(READY)
  return here
}

/** MiB that each of some further guests adds to this process, which has one. */
async function ofFurtherGuests(): Promise<number> {
  const guests = [await bootHere()]
  try {
    globalThis.gc?.()
    const before = memoryBesidesGuest('self', guestBytes)
    for (let i = 0; i < FURTHER; i++) guests.push(await bootHere())
    globalThis.gc?.()
    return (memoryBesidesGuest('self', guestBytes) - before) / 1024 / FURTHER
  } finally {
    for (const { vm } of guests) await vm.close()
  }
}

await ofFurtherGuests() // what the process takes once only
const [further, ours, microvm, q35] = await interleave(rounds(3), [
  ofFurtherGuests,
  () => ofProcess(nodeKvm),
  () => ofProcess(qemuMicrovm),
  () => ofProcess(qemuQ35),
])
print([
  figure('memory of the process with its first VM', 'MiB', undefined, ours!, {
    name: qemuMicrovm.name,
    samples: microvm!,
  }),
  figure(
    'memory of each further VM in the process',
    'MiB',
    { of: 'ours', bound: 'at most', value: 5 },
    further!,
    {
      name: `${qemuQ35.name}, a process each`,
      samples: q35!,
    },
  ),
])
