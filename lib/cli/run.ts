import { createWriteStream, openSync } from 'node:fs'
import { Command, InvalidArgumentError, Option } from 'commander'
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
import { RunServices } from './run-services.js'
import {
  parseCpuSpec,
  parseCpusSpec,
  parseDiskSpec,
  parseGdbSpec,
  parseListenSpec,
  parseMemorySpec,
  parseModuleSpec,
  parseNetSpec,
  parseShareSpec,
} from './specs.js'
import { attachTerminal } from './terminal.js'

const collect =
  <T>(parse: (text: string) => T) =>
  (text: string, before: T[]): T[] => [...before, parse(text)]

const FILE_HELP = `
The file of --config, whose schema is the package's machine.schema.json, takes all of this and what there is no option
for: balloons, virtio consoles, limits of rate, engines of disks, ports and sizes of the devices.`

/** `node-kvm run` */
export function runCommand(): Command {
  return addPlatformOptions(new Command('run'))
    .description(
      'Boot a kernel, with its serial console on this terminal; Ctrl-A x stops it. Or, with --rootfs, run a command in an image as a container does, under a kernel of its own.',
    )
    .argument('[command...]', 'with --rootfs, after --: what to run instead of what the image says')
    .option(
      '--rootfs <path>',
      'root file system: a folder, a tar archive of one, or an OCI image (docker save, skopeo)',
    )
    .option('--config <file>', 'a JSON file that describes the machine; options here outweigh it')
    .option('-k, --kernel <path>', 'kernel: a bzImage, an ELF vmlinux or a Multiboot kernel')
    .option('--firmware <path>', 'a firmware, such as SeaBIOS or OVMF, in place of a kernel')
    .option('--firmware-variables <path>', "UEFI's variables, a copy of OVMF_VARS, written to")
    .option('-i, --initrd <path>', 'initial RAM disk')
    .option('-a, --append <text>', 'kernel command line', 'console=ttyS0')
    .addOption(
      new Option(
        '--decompress <where>',
        'unpack a bzImage in the guest, here, or here and then keep what comes out, which is fastest',
      )
        .choices(['guest', 'host', 'once'])
        .default('guest'),
    )
    .addOption(
      new Option(
        '--flat <mode>',
        'the kernel is bare machine code, for this mode of the CPU',
      ).choices(['real', 'protected', 'long']),
    )
    .option(
      '--module <path[,text]>',
      'file for a Multiboot or PVH kernel, and what the kernel is told of it (repeatable)',
      collect(parseModuleSpec),
      [],
    )
    .addOption(
      new Option('--on-reset <what>', 'what a reboot of the guest does')
        .choices(['stop', 'restart'])
        .default('stop'),
    )
    .option('--no-acpi', 'no ACPI tables, but an MP table and virtio_mmio.device= parameters')
    .addOption(
      new Option('--transport <kind>', 'how the guest reaches its devices')
        .choices(['pci', 'mmio'])
        .default('pci', 'pci, with --no-acpi mmio'),
    )
    .addOption(
      new Option(
        '-m, --memory <size[,kind=kind][,prefault][,mergeable][,locked]>',
        'guest memory, such as 512M or 2G; kinds: anonymous, memfd, hugetlb-2M, hugetlb-1G',
      )
        .argParser(parseMemorySpec)
        .default('256M'),
    )
    .addOption(
      new Option(
        '-c, --cpus <n[,sockets=n][,cores=n][,threads=n]>',
        'number of vCPUs, and how the guest sees them',
      )
        .argParser(parseCpusSpec)
        .default({ cpus: 1 }, '1'),
    )
    .option(
      '--cpu <model[,+feature][,-feature]>',
      'what the vCPUs are: host, x86-64-v1 to x86-64-v4; with and without features as in /proc/cpuinfo',
      parseCpuSpec,
    )
    .option(
      '-d, --disk <path[,readonly][,queues=n]>',
      'raw disk image or block device (repeatable)',
      collect(parseDiskSpec),
      [],
    )
    .option(
      '-n, --net <tap=name|passt>',
      'network card (repeatable): tap=NAME[,queues=N][,vhost[=auto]], or without privileges passt[,forward=tcp:HOST:GUEST…]; [,mac=ADDRESS]',
      collect(parseNetSpec),
      [],
    )
    .option(
      '--share <tag=path[,readonly]>',
      'a folder that the guest mounts with `mount -t virtiofs TAG DIRECTORY` (repeatable)',
      collect(parseShareSpec),
      [],
    )
    .option('--rng', "an entropy device that gives the host's random numbers", false)
    .option(
      '--agent',
      "run programs in the guest by `node-kvm exec`, where node-kvm's agent runs",
      false,
    )
    .option('--vsock <path>', 'a socket device, bridged to a Unix socket made at this path')
    .option('-t, --timeout <seconds>', 'stop the guest after so long', wholeNumber)
    .addOption(
      new Option(
        '--isolation <kind>',
        'run the machine in a process of its own, in a jail',
      ).choices(['none', 'process']),
    )
    .option('--name <name>', 'what `node-kvm ps` and the like call it: vm-PID unless told')
    .option('--json', 'say on standard error how it ended as JSON', false)
    .option('--stats', 'say at the end what the guest exited for, and how long it took', false)
    .option(
      '--gdb <[host:]port|path>',
      'let GDB connect at a TCP port, of 127.0.0.1 unless told, or at a Unix socket made here',
      parseGdbSpec,
    )
    .option('--gdb-wait', 'keep the guest at its first instruction until GDB lets it go on', false)
    .option(
      '--metrics <[address:]port>',
      'serve metrics for Prometheus at /metrics',
      parseListenSpec,
    )
    .option('--trace <file>', 'write what the guest exited for, and disk requests, for Perfetto')
    .addOption(
      new Option('--emulate <when>', 'use the emulated KVM host')
        .choices(['auto', 'always', 'never'])
        .default('auto', 'auto: where /dev/kvm cannot run a stock kernel'),
    )
    .addHelpText('after', `${FILE_HELP}\n${EXIT_STATUS_HELP}`)
    .action(async (argv: string[], options: RunOptions, command: Command) => {
      if (options.rootfs !== undefined) {
        const { runRootfs } = await import('./run-rootfs.js')
        const { rootfs } = options
        process.exitCode = await runRootfs(argv, { ...options, rootfs }, command)
        return
      }
      if (argv.length > 0) command.error('error: a command needs --rootfs')
      if (
        [options.kernel, options.firmware, options.config].every((given) => given === undefined)
      ) {
        command.error(
          "error: required option '-k, --kernel <path>' or '--firmware <path>' not specified",
        )
      }
      const machine = await machineOptions(options, command)
      const written = writableFolders(machine, options)
      const remote = await runHere(options.emulate, written, kvmUsable, options.gdb && '--gdb')
      process.exitCode = remote ?? (await runGuest(machine, options))
    })
}

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('expected a whole number')
  return Number(text)
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
  const restoreTerminal = attachTerminal(vm.console, () => stop(EXIT_STATUS.killed))
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
