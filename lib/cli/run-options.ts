import { type Command, Option } from 'commander'
import { wholeNumber } from './spec-parts.js'
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

// The options of `node-kvm run`, less those of platform-options.ts.

const collect =
  <T>(parse: (text: string) => T) =>
  (text: string, before: T[]): T[] => [...before, parse(text)]

/** What is started, and how. */
export function addBootOptions(command: Command): Command {
  return command
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
}

/** What the machine has. */
export function addMachineOptions(command: Command): Command {
  return command
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
}

/** Where it runs, for how long, and what is told of it. */
export function addRunOptions(command: Command): Command {
  return command
    .option('-t, --timeout <seconds>', 'stop the guest after so long', (text: string) =>
      wholeNumber(text, text),
    )
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
}
