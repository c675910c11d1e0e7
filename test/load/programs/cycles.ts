// Makes machines one after another and says what they have left behind: in a process that does nothing else, so that what
// grows is theirs.
import { once } from 'node:events'
import { MemoryDisk, type VirtualMachine } from '../../../lib/index.js'
import { kernel, resetByKeyboardController } from '../../machine/tiny-guest.js'
import { create, held, heldMoreThan, residentKib } from '../machine.js'

const [kind, times] = process.argv.slice(2)

/** One that goes on from cycle to cycle. */
let restarting: VirtualMachine | undefined

const CYCLES: Readonly<Record<string, () => Promise<void>>> = {
  'first byte': async () => {
    const vm = await create({ disks: [new MemoryDisk(4096)], rng: true })
    await vm.start()
    for await (const chunk of vm.console.output) if (String(chunk) !== 'x') throw new Error('no x')
    if ((await vm.stopped).kind !== 'shutdown') throw new Error('no shutdown')
    await vm.close()
  },
  reset: async () => {
    const vm = await create({ kernel: kernel(resetByKeyboardController) })
    await vm.start()
    if ((await vm.stopped).kind !== 'reset') throw new Error('no reset')
    await vm.close()
  },
  restart: async () => {
    if (restarting === undefined) {
      const guest = kernel(resetByKeyboardController)
      const devices = { disks: [new MemoryDisk(4096)], rng: true }
      restarting = await create({ kernel: guest, onReset: 'restart', ...devices })
      await restarting.start()
    }
    await once(restarting, 'reset')
  },
}
const run = async (cycles: number) => {
  for (let i = 0; i < cycles; i++) await CYCLES[kind!]!()
}

// A pipe takes a descriptor more once it is used.
process.stdout.write('')
await run(5)
const before = held()
const tenth = Math.ceil(Number(times) / 10)
// Collected after each tenth: a heap that is let grow for a thousand machines stays large.
const resident: number[] = []
for (let i = 0; i <= 10; i++) {
  await run(tenth)
  resident.push(await residentKib())
}
const growth = Math.round(resident.at(-1)! - resident[0]!)
process.stdout.write(`${JSON.stringify({ growth, more: await heldMoreThan(before) })}\n`)
await restarting?.close()
