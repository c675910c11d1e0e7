// Runs a machine in a process of its own, until it is ended.
import { VirtualMachine } from '../../../lib/index.js'
import { halt, kernel } from '../../machine/tiny-guest.js'

const vm = await VirtualMachine.create({ kernel: kernel(halt), isolation: 'process' })
await vm.start()
process.stdout.write(`pid ${vm.pid}\n`)
