import { Command, InvalidArgumentError } from 'commander'

interface HostOptions {
  memory?: number
  cpus?: number
  timeout?: number
  shareRw: string[]
}

const positive = (text: string): number => {
  const value = Number(text)
  if (!(Number.isFinite(value) && value > 0))
    throw new InvalidArgumentError('expected a number above 0')
  return value
}

/** `node-kvm host` */
export function hostCommand(): Command {
  return new Command('host')
    .description(
      'Run a command where /dev/kvm runs stock kernels: in a throw-away Linux machine emulated by QEMU, with the files, folder and environment of this one. What it writes is lost, but for --share-rw.',
    )
    .argument('<command...>', 'the command and its arguments, after --')
    .option('--memory <MiB>', 'memory of the machine', positive)
    .option('--cpus <n>', 'processors of the machine', positive)
    .option('--timeout <seconds>', 'end it after so long', positive)
    .option(
      '--share-rw <folder>',
      'a folder that the command may change for good (repeatable)',
      (folder, before: string[]) => [...before, folder],
      [],
    )
    .passThroughOptions()
    .addHelpText(
      'after',
      "\nExit status: the command's; 128 and the signal's number if it was killed.",
    )
    .action(async (command: string[], { memory, cpus, timeout, shareRw }: HostOptions) => {
      const { runInEmulatedHost } = await import('../testing.js')
      const { exitCode } = await runInEmulatedHost(command, {
        ...(memory === undefined ? {} : { memoryMiB: memory }),
        ...(cpus === undefined ? {} : { cpus }),
        ...(timeout === undefined ? {} : { timeoutSeconds: timeout }),
        shareReadWrite: shareRw,
      })
      process.exitCode = exitCode
    })
}
