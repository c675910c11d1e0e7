import { Command } from 'commander'
import { printJson } from './output.js'

/** `node-kvm inspect` */
export function inspectCommand(): Command {
  return new Command('inspect')
    .description(
      'Print all that is known of a running machine: configuration, devices, statistics.',
    )
    .argument('<name>', 'as `node-kvm ps` lists it')
    .option('--json', 'as JSON, which it is anyway')
    .action(async (name: string) => {
      const { askOnce } = await import('./supervisor/client.js')
      printJson(await askOnce(name, { method: 'inspect' }))
    })
}
