import { constants } from 'node:os'
import { Command } from 'commander'
import { attachTerminal } from './terminal.js'

/** `node-kvm console` */
export function consoleCommand(): Command {
  return new Command('console')
    .description(
      'Connect this terminal, or pipe, to the serial console of a running machine, until that ends. Ctrl-A x leaves it running.',
    )
    .argument('<name>', 'as `node-kvm ps` lists it')
    .action(async (name: string) => {
      const { ask } = await import('./supervisor/client.js')
      const { socket } = await ask(name, { method: 'console' })
      const restore = attachTerminal({ input: socket, output: socket }, () => socket.destroy())
      // Not to leave the terminal in raw mode.
      const leave = (signal: NodeJS.Signals) => {
        process.exitCode = 128 + constants.signals[signal]
        socket.destroy()
      }
      const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
      for (const signal of signals) process.once(signal, leave)
      await new Promise((resolve) => socket.once('close', resolve))
      for (const signal of signals) process.off(signal, leave)
      restore()
    })
}
