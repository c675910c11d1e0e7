import { createWriteStream, openSync } from 'node:fs'
import { Command } from 'commander'
import {
  describeStopReason,
  describeWarning,
  type GdbListenOptions,
  kvmUsable,
  VirtualMachine,
  type VirtualMachineOptions,
} from '../index.js'
import { runHere } from './emulated.js'
import { EXIT_STATUS, EXIT_STATUS_HELP, exitStatus } from './exit-status.js'
import { machineOptions, type RunOptions, writableFolders } from './machine-options.js'
import { addPlatformOptions } from './platform-options.js'
import { endOf, printEnd } from './run-end.js'
import { addBootOptions, addMachineOptions, addRunOptions } from './run-options.js'
import { RunServices } from './run-services.js'
import { attachTerminal } from './terminal.js'

const FILE_HELP = `
The file of --config, whose schema is the package's machine.schema.json, takes all of this and what there is no option
for: balloons, virtio consoles, limits of rate, engines of disks, ports and sizes of the devices.`

/** `node-kvm run` */
export function runCommand(): Command {
  const command = new Command('run')
    .description(
      'Boot a kernel, with its serial console on this terminal; Ctrl-A x stops it. Or, with --rootfs, run a command in an image as a container does, under a kernel of its own.',
    )
    .argument('[command...]', 'with --rootfs, after --: what to run instead of what the image says')
  for (const add of [addPlatformOptions, addBootOptions, addMachineOptions, addRunOptions])
    add(command)
  return command.addHelpText('after', `${FILE_HELP}\n${EXIT_STATUS_HELP}`).action(run)
}

async function run(argv: string[], options: RunOptions, command: Command): Promise<void> {
  if (options.rootfs !== undefined) {
    const { runRootfs } = await import('./run-rootfs.js')
    const { rootfs } = options
    process.exitCode = await runRootfs(argv, { ...options, rootfs }, command)
    return
  }
  if (argv.length > 0) command.error('error: a command needs --rootfs')
  if ([options.kernel, options.firmware, options.config].every((given) => given === undefined)) {
    command.error(
      "error: required option '-k, --kernel <path>' or '--firmware <path>' not specified",
    )
  }
  const machine = await machineOptions(options, command)
  const written = writableFolders(machine, options)
  const remote = await runHere(options.emulate, written, kvmUsable, options.gdb && '--gdb')
  process.exitCode = remote ?? (await runGuest(machine, options))
}

async function runGuest(machine: VirtualMachineOptions, options: RunOptions): Promise<number> {
  await using vm = await VirtualMachine.create(machine)
  if (vm.debugcon && options.debugcon !== undefined) {
    // Opened here, so that what cannot be is told before the guest starts.
    vm.debugcon.pipe(createWriteStream('', { fd: openSync(options.debugcon, 'w') }))
  }
  let status: number | undefined
  const stop = (code: number) => {
    status ??= code
    void vm.stop()
  }
  let restoreTerminal = () => {}
  const onSignal = () => stop(EXIT_STATUS.killed)
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  for (const signal of signals) process.once(signal, onSignal)
  const timer =
    options.timeout === undefined
      ? undefined
      : setTimeout(() => stop(EXIT_STATUS.timeout), options.timeout * 1000)
  // A terminal in raw mode does not return the carriage by itself.
  vm.on('warning', (warning) =>
    process.stderr.write(`\r\nnode-kvm: ${describeWarning(warning)}\r\n`),
  )
  const services = new RunServices(vm, options)
  try {
    if (options.gdb) await listenForGdb(vm, { ...options.gdb, wait: options.gdbWait })
    await vm.start()
    // What the guest prints meanwhile is kept, and what is typed.
    restoreTerminal = attachTerminal(vm.console, () => stop(EXIT_STATUS.killed))
    await services.open()
    const reason = await vm.stopped
    await outputEnd(vm)
    restoreTerminal()
    if (options.json) printEnd(endOf(reason, status ?? exitStatus(reason)))
    else if (reason.kind !== 'shutdown')
      process.stderr.write(`node-kvm: ${describeStopReason(reason)}\n`)
    if (options.stats) process.stderr.write(vm.explain())
    return status ?? exitStatus(reason)
  } finally {
    await services.close()
    clearTimeout(timer)
    for (const signal of signals) process.removeListener(signal, onSignal)
    restoreTerminal()
  }
}

async function listenForGdb(vm: VirtualMachine, options: GdbListenOptions): Promise<void> {
  const address = await vm.gdb.listen(options)
  const remote = 'path' in address ? address.path : `${address.host}:${address.port}`
  process.stderr.write(`node-kvm: in gdb: target remote ${remote}\r\n`)
}

/** Resolves when what the guest said last has been read. */
async function outputEnd(vm: VirtualMachine): Promise<void> {
  if (vm.console.output.readableEnded) return
  await new Promise((resolve) => vm.console.output.once('end', resolve).once('close', resolve))
}
