import { accessSync, constants, statSync } from 'node:fs'
import { isAbsolute, join, resolve } from 'node:path'
import { missingProgram } from '../assets/program.js'
import { PORTS, ROOT_TAG, shareTag } from './host-init.js'

/** The file descriptors that QEMU inherits, besides the standard ones. */
export const FDS = {
  control: 3,
  stdin: 4,
  stdout: 5,
  stderr: 6,
  serial: 7,
  terminal: 8,
  initrd: 9,
} as const

export interface QemuOptions {
  memoryMiB: number
  cpus: number
  icount: boolean
  terminal: boolean
  kernel: string
  shareReadWrite: readonly string[]
}

/**
 * All that the translator knows, but what makes software slower in it: for ERMS and FSRM, kernels and C libraries clear and
 * copy by a byte at a time, and for LA57 page tables have one more level, which a guest's are walked through for each of its own.
 */
const CPU = 'max,-erms,-fsrm,-la57'

/** QEMU's arguments: a q35 whose CPUs are translated and have SVM, with the streams on inherited descriptors. */
export function qemuArguments(options: QemuOptions): string[] {
  const { memoryMiB, cpus, icount, terminal, kernel, shareReadWrite } = options
  return [
    ...['-M', 'q35', '-cpu', CPU, '-smp', String(processors(cpus)), '-m', String(memoryMiB)],
    ...['-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none'],
    ...(icount
      ? ['-accel', 'tcg,thread=single', '-icount', 'shift=0,sleep=on']
      : ['-accel', 'tcg,thread=multi']),
    ...['-kernel', kernel, '-initrd', `/dev/fd/${FDS.initrd}`, '-append', commandLine(cpus)],
    ...['-chardev', `socket,id=serial,fd=${FDS.serial}`, '-serial', 'chardev:serial'],
    ...share(ROOT_TAG, '/', true),
    ...shareReadWrite.flatMap((path, index) => share(shareTag(index), path, false)),
    ...['-device', 'virtio-serial-pci'],
    ...PORTS.flatMap((name, index) => [
      ...['-chardev', `socket,id=${name},fd=${FDS[name]}`],
      ...['-device', `virtserialport,chardev=${name},nr=${index + 1},name=node-kvm.${name}`],
    ]),
    ...(terminal
      ? [
          ...['-chardev', `socket,id=terminal,fd=${FDS.terminal}`],
          ...['-device', 'virtconsole,chardev=terminal,nr=0'],
        ]
      : []),
  ]
}

/**
 * How many it takes for `cpus` that programs run on. Where these are several, the first is one more and runs none: QEMU's x87
 * emulation, on whichever processor restores a thread's FPU state, rewrites flags of the first without a lock (those with
 * HF2_IGNNE_MASK), so that one which leaves a guest meanwhile believes that it is in it still, and the guest dies.
 */
function processors(cpus: number): number {
  return cpus === 1 ? 1 : cpus + 1
}

/** `panic=-1` and -no-reboot: a host that fails ends QEMU. */
function commandLine(cpus: number): string {
  const isolated = processors(cpus) > cpus ? ' isolcpus=0' : ''
  return `console=ttyS0 quiet loglevel=4 panic=-1 nokaslr no_timer_check mitigations=off apparmor=0 audit=0${isolated}`
}

function share(tag: string, path: string, readOnly: boolean): string[] {
  const access = readOnly ? ',readonly=on' : ''
  // A comma in an option's value is written twice.
  const value = path.replaceAll(',', ',,')
  return [
    '-virtfs',
    `local,path=${value},mount_tag=${tag},security_model=none,multidevs=remap${access}`,
  ]
}

/**
 * The path of a program, found as a shell would.
 * @throws VmmError `ERR_MISSING_PROGRAM` naming the Debian package that has it
 */
export function findProgram(name: string): string {
  const found = lookUp(name)
  if (found === undefined) throw missingProgram(name)
  return found
}

/** As {@link findProgram}, undefined if it is not there. */
export function lookUp(name: string): string | undefined {
  if (name.includes('/')) return isExecutable(resolve(name)) ? resolve(name) : undefined
  const folders = (process.env.PATH ?? '').split(':').filter(isAbsolute)
  return folders.map((folder) => join(folder, name)).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}
