import type { Writable } from 'node:stream'
import { ConsoleInput } from '../backends/char/console-input.js'
import { ConsoleOutput } from '../backends/char/console-output.js'
import type { Cleanup } from '../util/cleanup.js'
import type { MachineConfig } from './machine-config.js'

/** A machine's serial console, as streams. */
export interface VmConsole {
  /**
   * What the guest writes. Bytes are kept for a reader that is behind up to the configured size; beyond that the oldest
   * are dropped and counted in `output.lost`. Ends after the guest has ended.
   */
  readonly output: ConsoleOutput
  /** What the guest reads: a write is done when the guest has taken it. */
  readonly input: Writable
}

/** The same with the ends that the UART has of it. */
export interface SerialConsole extends VmConsole {
  readonly input: ConsoleInput
}

export function createConsole(config: MachineConfig, cleanup: Cleanup): SerialConsole {
  const output = new ConsoleOutput({ capacity: config.consoleBufferSize })
  const input = new ConsoleInput()
  cleanup.defer(() => void input.destroy())
  return { output, input }
}
