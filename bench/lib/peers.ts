/** What every monitor of a comparison is given. */
export interface GuestSpec {
  readonly kernel: string
  readonly initrd: string
  readonly commandLine: string
  readonly memoryMiB: number
}

/** A monitor as the benchmarks start it: the guest's serial console is its standard output. */
export interface Monitor {
  readonly name: string
  command(guest: GuestSpec): string[]
}

const CLI = new URL('../../bundle/cli/main.js', import.meta.url).pathname

export const nodeKvm: Monitor = {
  name: 'node-kvm',
  command: ({ kernel, initrd, commandLine, memoryMiB }) => [
    process.execPath,
    CLI,
    'run',
    '--emulate=never',
    ...[
      '--kernel',
      kernel,
      '--initrd',
      initrd,
      '--append',
      commandLine,
      '--memory',
      `${memoryMiB}M`,
    ],
  ],
}

function qemu(name: string, machine: string[]): Monitor {
  return {
    name,
    command: ({ kernel, initrd, commandLine, memoryMiB }) => [
      'qemu-system-x86_64',
      ...machine,
      ...[
        '-accel',
        'kvm',
        '-cpu',
        'host',
        '-nodefaults',
        '-no-user-config',
        '-no-reboot',
        '-display',
        'none',
        '-serial',
        'stdio',
      ],
      ...['-m', `${memoryMiB}`, '-kernel', kernel, '-initrd', initrd, '-append', commandLine],
    ],
  }
}

export const qemuQ35 = qemu('QEMU q35', ['-M', 'q35'])
export const qemuMicrovm = qemu('QEMU microvm', ['-M', 'microvm'])
/** microvm with what slows its boot left out: no option ROMs, PIT and PIC off, an RTC. */
export const qemuMicrovmTuned = qemu('QEMU microvm, tuned', [
  '-M',
  'microvm,rtc=on,x-option-roms=off,pit=off,pic=off',
])
