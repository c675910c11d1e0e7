// Creates a machine whenever it is told to, and says what came of it and how many descriptors are open after.
import { createInterface } from 'node:readline'
import { FileDisk, VirtualMachine, VirtualSwitch } from '../../../lib/index.js'
import { openFds } from '../../helpers/process-state.js'
import { CODE, MEMORY, scriptGuest } from '../../hostile/script-guest.js'

const [path] = process.argv.slice(2)
const create = () =>
  VirtualMachine.create({
    kernel: scriptGuest(),
    flatBinary: { mode: 'long', address: CODE },
    memory: MEMORY,
    cpus: 2,
    disks: [new FileDisk(path!)],
    nets: [new VirtualSwitch().port()],
    rng: true,
    vsock: {},
    virtioConsole: {},
    balloon: {},
  })
// What is opened once and for all is open before anything is counted.
await (await create()).close()
process.stdout.write(`ready ${openFds()}\n`)
for await (const _line of createInterface(process.stdin)) {
  let said: Record<string, unknown>
  try {
    const vm = await create()
    await vm.close()
    said = { created: true }
  } catch (error) {
    const { name, code, message } = error as NodeJS.ErrnoException
    said = { name, code, message }
  }
  process.stdout.write(`${JSON.stringify(said)}\n`)
}
