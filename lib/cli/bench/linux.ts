import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FileDisk, VirtualMachine, VirtualSwitch } from '../../index.js'
import { guestInitramfs, kernelAsset } from '../../testing.js'
import { type BenchFigure, figureOf } from './figures.js'

export interface LinuxOptions {
  readonly quick: boolean
  /** Where the disk's image is made. */
  readonly folder: string
  readonly report: (what: string) => void
}

const MIB = 2 ** 20
const ADDRESS = '10.0.0.'

/** Two machines with a stock Debian kernel on one switch, the first with a disk. Only a KVM that runs those will do. */
export async function measureLinux({
  quick,
  folder,
  report,
}: LinuxOptions): Promise<BenchFigure[]> {
  const kernel = await kernelAsset('6.12', 'cloud-amd64', { report })
  const initrd = await guestInitramfs(kernel, { agent: true, report })
  const network = new VirtualSwitch()
  const started: number[] = []
  const boot = async (host: number, disks: FileDisk[]): Promise<VirtualMachine> => {
    report('booting Linux')
    const before = performance.now()
    const vm = await VirtualMachine.create({
      kernel: kernel.vmlinuz,
      initrd,
      commandLine: `quiet nodekvm.mode=none nodekvm.ip=${ADDRESS}${host}/24`,
      memory: '256M',
      agent: { startTimeout: 600_000 },
      nets: [network.port()],
      disks,
    })
    vm.console.output.resume()
    await vm.start()
    await vm.exec(['true'])
    started.push(performance.now() - before)
    return vm
  }
  const size = (quick ? 8 : 256) * MIB
  const { disk, remove } = await makeDisk(folder, size)
  try {
    await using first = await boot(1, [disk])
    await using second = await boot(2, [])
    const boots = figureOf('create to the result of a program in Linux', 'ms', started)
    report('running programs')
    const program = await measureExec(first, quick ? 3 : 50)
    report('reading and writing a disk')
    const blocks = await measureDisk(first, size, quick ? 100 : 5000, program)
    report('sending between two guests')
    const frames = await measureNet(
      [first, second],
      (quick ? 4 : 512) * MIB,
      quick ? 3 : 50,
      program,
    )
    return [boots, program, ...blocks, ...frames]
  } finally {
    await remove()
  }
}

/** An image without holes, which would be read from nowhere. */
async function makeDisk(folder: string, size: number) {
  const directory = await mkdtemp(join(folder, 'node-kvm-bench-'))
  const path = join(directory, 'disk.img')
  await writeFile(path, Buffer.alloc(size, 0x5a))
  const remove = () => rm(directory, { recursive: true, force: true })
  return { disk: new FileDisk(path), remove }
}

async function measureExec(vm: VirtualMachine, runs: number): Promise<BenchFigure> {
  const samples: number[] = []
  for (let i = 0; i < runs; i++) {
    const before = performance.now()
    await vm.exec(['true'])
    samples.push(performance.now() - before)
  }
  return figureOf('run a program in a guest that runs', 'ms', samples)
}

async function measureDisk(
  vm: VirtualMachine,
  size: number,
  blocks: number,
  program: BenchFigure,
): Promise<BenchFigure[]> {
  const disk = '/dev/vda'
  const ways = [
    ['read', `if=${disk} of=/dev/null iflag=direct`],
    ['write', `if=/dev/zero of=${disk} oflag=direct`],
  ] as const
  const figures: BenchFigure[] = []
  for (const [name, what] of ways) {
    const whole = await seconds(vm, `dd ${what} bs=1M count=${size / MIB}`, program)
    figures.push(figureOf(`disk, ${name} of 1 MiB each`, 'MB/s', [size / 1e6 / whole]))
    const single = await seconds(vm, `dd ${what} bs=4k count=${blocks}`, program)
    figures.push(figureOf(`disk, ${name}s of 4 KiB, one at a time`, 'per s', [blocks / single]))
  }
  return figures
}

async function measureNet(
  [client, server]: [VirtualMachine, VirtualMachine],
  bytes: number,
  pings: number,
  program: BenchFigure,
): Promise<BenchFigure[]> {
  const peer = `${ADDRESS}2`
  const ping = await output(client, `ping -c 3 ${peer} >/dev/null; ping -A -c ${pings} ${peer}`)
  const [, trip = ''] = /min\/avg\/max = [\d.]+\/([\d.]+)\//.exec(ping) ?? []
  // What comes is not to go on to this process.
  const listening = await server.spawn(['sh', '-c', 'exec nc -l -p 5001 >/dev/null'])
  await output(server, 'until grep -qs :1389 /proc/net/tcp /proc/net/tcp6; do :; done') // 5001
  const block = 65536
  const send = `dd if=/dev/zero bs=${block} count=${bytes / block} | nc ${peer} 5001`
  const rate = bytes / 1e6 / (await seconds(client, send, program))
  listening.kill('SIGKILL')
  return [
    figureOf('round trip between two guests', 'ms', [Number(trip)]),
    figureOf('from one guest to another', 'MB/s', [rate]),
  ]
}

async function output(vm: VirtualMachine, script: string): Promise<string> {
  const { stdout, stderr, exitCode } = await vm.exec(['sh', '-c', script])
  if (exitCode === 0) return stdout + stderr
  throw new Error(`${script}: exit status ${exitCode}\n${stdout}${stderr}`)
}

/** What a script takes, less what any program takes: the guest's own clocks are too coarse. */
async function seconds(vm: VirtualMachine, script: string, program: BenchFigure): Promise<number> {
  const before = performance.now()
  await output(vm, script)
  return Math.max(performance.now() - before - program.smallest, 0.1) / 1000
}
