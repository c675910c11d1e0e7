#!/usr/bin/env node
import { Command } from 'commander'
import { doctorCommand } from './doctor.js'
import { EXIT_STATUS } from './exit-status.js'
import { hostCommand } from './host.js'
import { runCommand } from './run.js'
import { version } from './version.js'

const program = new Command('node-kvm')
  .description('Run virtual machines on KVM.')
  .version(version())
  .showHelpAfterError('(--help shows what there is)')
  // Options after `host COMMAND` are the command's.
  .enablePositionalOptions()
  .exitOverride(({ exitCode }) => process.exit(exitCode === 0 ? 0 : EXIT_STATUS.usage))

for (const command of [runCommand(), doctorCommand(), hostCommand()]) {
  program.addCommand(command.copyInheritedSettings(program))
}

try {
  await program.parseAsync()
} catch (error) {
  const { message, stack } = error as Error
  process.stderr.write(`node-kvm: ${process.env.NODE_KVM_DEBUG ? stack : message}\n`)
  process.exitCode = EXIT_STATUS.hostError
}
