import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const EXAMPLES = fileURLToPath(new URL('../../dist/examples/', import.meta.url))

/** Runs an example to its end, and gives what it printed. */
export function runExample(name: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [`${EXAMPLES}${name}.js`, ...args], (error, stdout, stderr) => {
      if (error) reject(new Error(`${error.message}\n${stdout.slice(-4000)}\n${stderr}`))
      else resolve(stdout)
    })
  })
}
