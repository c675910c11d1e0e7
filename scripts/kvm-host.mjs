// scripts/kvm-host [OPTIONS] -- COMMAND ARGS...: runs a command in the emulated KVM host, a throw-away Linux machine
// under QEMU with a real kvm_amd, in which this machine's files are as they are here.
import { Command, InvalidArgumentError, Option } from 'commander'
import { progress } from './lib/progress.mjs'
import { library } from './lib/typescript.mjs'

const EXIT_TIMEOUT = 124
const EXIT_FAILURE = 125

const number = (text) => {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value)) throw new InvalidArgumentError('Not a number.')
  return value
}

const program = new Command('kvm-host')
  .usage('[options] -- COMMAND [ARGUMENTS...]')
  .description(
    'Run a command where /dev/kvm is a real kvm_amd: in a throw-away Linux machine emulated by QEMU, with the files, ' +
      'folder and environment of this one. What it writes is lost, but for --share-rw.',
  )
  .argument('<command...>')
  .option('--memory <MiB>', 'memory of the machine (default: 4096)', number)
  .option('--cpus <n>', 'processors of the machine (default: 2, with --icount 1)', number)
  .option('--timeout <seconds>', 'end it after this long, with status 124', number)
  .option('--qemu <path>', 'another QEMU than the qemu-system-x86_64 of PATH')
  .option(
    '--icount',
    'count instructions as time; needs a QEMU in which nested guests survive that',
  )
  .addOption(
    new Option(
      '--share-rw <folder>',
      'a folder that the command may change for good; may be repeated',
    )
      .default([])
      .argParser((folder, folders) => [...folders, folder]),
  )
  .option('--no-repeat', 'do not start again after a fault of the emulator itself')
  .option('--quiet', 'no progress on standard error')
  .addHelpText(
    'after',
    `
Exit status: the command's own; 128 and the signal's number if it was killed; ${EXIT_TIMEOUT} when the time is up;
${EXIT_FAILURE} if the machine could not be run.

Example: scripts/kvm-host -- npx vitest run --project guest`,
  )
  .passThroughOptions()
  .configureOutput({ outputError: (text, write) => write(`kvm-host: ${text}`) })
  .exitOverride()

async function main() {
  let options
  try {
    program.parse()
    options = program.opts()
  } catch (error) {
    return error.exitCode === 0 ? 0 : EXIT_FAILURE
  }
  const spinner = progress(options.quiet)
  try {
    const { runInEmulatedHost } = await library('testing', spinner.report)
    const { shareRw: shareReadWrite, memory: memoryMiB, timeout: timeoutSeconds, ...rest } = options
    const result = await runInEmulatedHost(program.args, {
      ...rest,
      timeoutSeconds,
      memoryMiB,
      shareReadWrite,
      report: spinner.report,
      onReady: spinner.stop,
    })
    for (const fault of result.faults) console.error(`kvm-host: ${fault}; the command ran twice`)
    return result.exitCode
  } catch (error) {
    spinner.stop()
    console.error(`kvm-host: ${error.code ? error.message : error.stack}`)
    return error.code === 'ERR_TIMEOUT' ? EXIT_TIMEOUT : EXIT_FAILURE
  } finally {
    spinner.stop()
  }
}

process.exit(await main())
