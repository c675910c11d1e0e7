import { stat } from 'node:fs/promises'
import { basename, join, posix, resolve } from 'node:path'
import { Command } from 'commander'
import { type CopySummary, formatByteSize } from '../index.js'
import { clearStatus, printJson, showStatus } from './output.js'
import type { CopyReport, CopyRequest } from './supervisor/protocol.js'

/** `node-kvm cp` */
export function cpCommand(): Command {
  return new Command('cp')
    .description(
      'Copy a file or a folder to or from a running machine that has the agent (run --agent): node-kvm cp FILE NAME:PATH, or NAME:PATH FILE.',
    )
    .argument('<from>', 'a path here, or NAME:PATH')
    .argument('<to>', 'the other; into it, if it is a folder that is there')
    .option('--json', 'print what has been copied as JSON')
    .addHelpText('after', '\nA path here that has a colon begins with / or ./.')
    .action(async (from: string, to: string, { json }: { json?: boolean }, command: Command) => {
      const [source, target] = [parsePlace(from), parsePlace(to)]
      if ((source.machine === undefined) === (target.machine === undefined)) {
        command.error('error: expected one path here and one NAME:PATH')
      }
      const name = (source.machine ?? target.machine)!
      const summary = await copy(name, await request(source, target))
      if (json) printJson(summary)
    })
}

interface Place {
  readonly machine: string | undefined
  readonly path: string
}

/** Reads `NAME:PATH`, or a path here. */
export function parsePlace(text: string): Place {
  const [, machine, path = text] = /^([A-Za-z0-9][\w.-]*):(.*)$/s.exec(text) ?? []
  // The agent's own folder is the root.
  return { machine, path: machine === undefined ? path : posix.resolve('/', path) }
}

async function request(from: Place, to: Place): Promise<CopyRequest> {
  if (from.machine === undefined) {
    return { method: 'copy', direction: 'in', from: resolve(from.path), to: to.path }
  }
  const target = resolve(to.path)
  const isFolder = await stat(target).then(
    (status) => status.isDirectory(),
    () => false,
  )
  const into = isFolder ? join(target, basename(from.path)) : target
  return { method: 'copy', direction: 'out', from: from.path, to: into }
}

/** Milliseconds: it takes as long as it takes, and ends with this process. */
const NO_LIMIT = 2 ** 31 - 1
const LINE_MAX = 2 ** 16

async function copy(name: string, request: CopyRequest): Promise<CopySummary> {
  const { ask } = await import('./supervisor/client.js')
  const { readLine } = await import('./supervisor/protocol.js')
  const { socket } = await ask(name, request)
  try {
    for (;;) {
      const report = JSON.parse(await readLine(socket, LINE_MAX, NO_LIMIT)) as CopyReport
      if ('result' in report) return report.result
      if ('error' in report) throw new Error(`${name}: ${report.error}`)
      showStatus(describe(report.progress))
    }
  } finally {
    clearStatus()
    socket.destroy()
  }
}

function describe({ files, bytes }: CopySummary): string {
  return `${files} files, ${formatByteSize(bytes)}`
}
