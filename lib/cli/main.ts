#!/usr/bin/env node
import { Command } from 'commander'
import { doctorCommand } from './doctor.js'
import { EXIT_STATUS } from './exit-status.js'
import { runCommand } from './run.js'
import { version } from './version.js'

const program = new Command('node-kvm')
  .description('Run virtual machines on KVM.')
  .version(version())
  .showHelpAfterError('(node-kvm --help shows what there is)')
  .configureHelp({ showGlobalOptions: true })
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : EXIT_STATUS.usage))
  .addCommand(runCommand())
  .addCommand(doctorCommand())

try {
  await program.parseAsync()
} catch (error) {
  const { message } = error as Error
  process.stderr.write(`node-kvm: ${message}\n`)
  if (process.env.NODE_KVM_DEBUG) process.stderr.write(`${(error as Error).stack}\n`)
  process.exitCode = EXIT_STATUS.hostError
}
