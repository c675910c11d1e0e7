import { Command } from 'commander'
import { diagnose, formatDiagnosis } from '../index.js'
import { EXIT_STATUS } from './exit-status.js'

/** `node-kvm doctor` */
export function doctorCommand(): Command {
  return new Command('doctor')
    .description(
      'Tell what this machine can do for virtual machines, and how to mend what it cannot.',
    )
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', '\nExit status: 0 if stock kernels can run on /dev/kvm, 1 if not.')
    .action(async ({ json }: { json?: boolean }) => {
      const diagnosis = await diagnose()
      process.stdout.write(
        json ? `${JSON.stringify(diagnosis, null, 2)}\n` : `${formatDiagnosis(diagnosis)}\n`,
      )
      process.exitCode = diagnosis.kvm.state === 'fine' ? 0 : EXIT_STATUS.hostError
    })
}
