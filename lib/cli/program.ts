// The program of `node-kvm`, which main.ts starts.
import { Command } from 'commander'
import { benchCommand } from './bench.js'
import { completionCommand } from './completion.js'
import { consoleCommand } from './console.js'
import { cpCommand } from './cp.js'
import { doctorCommand } from './doctor.js'
import { execCommand } from './exec.js'
import { EXIT_STATUS } from './exit-status.js'
import { hostCommand } from './host.js'
import { inspectCommand } from './inspect.js'
import { endWithReader } from './output.js'
import { psCommand } from './ps.js'
import { runCommand } from './run.js'
import { stopCommand } from './stop.js'
import { version } from './version.js'

const program = new Command('node-kvm')
  .description('Run virtual machines on KVM.')
  .version(version())
  .showHelpAfterError('(--help shows what there is)')
  // Options after `host COMMAND` are the command's.
  .enablePositionalOptions()
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : EXIT_STATUS.usage))

const commands = [
  ...[runCommand(), psCommand(), execCommand(), cpCommand(), consoleCommand()],
  ...[inspectCommand(), stopCommand()],
  ...[doctorCommand(), benchCommand(), hostCommand(), completionCommand()],
]
for (const command of commands) {
  program.addCommand(command.copyInheritedSettings(program))
}

/** Ends with the exit status set. */
async function main(): Promise<void> {
  endWithReader()
  try {
    await program.parseAsync()
  } catch (error) {
    const { message, stack } = error as Error
    process.stderr.write(`node-kvm: ${process.env.NODE_KVM_DEBUG ? stack : message}\n`)
    process.exitCode = EXIT_STATUS.hostError
  }
}

void main()
