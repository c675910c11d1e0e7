import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'

const EXAMPLES = fileURLToPath(new URL('../../dist/examples/', import.meta.url))

/** Runs an example to its end, and gives what it printed. */
function example(name: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile(process.execPath, [`${EXAMPLES}${name}.js`, ...args], (error, stdout, stderr) => {
      if (error) reject(new Error(`${error.message}\n${stdout.slice(-4000)}\n${stderr}`))
      else resolve(stdout)
    })
  })
}

it('08-sandbox: a script is ended after its time, and another tells what it did', async () => {
  expect(await example('08-sandbox')).toContain('it was ended: ')
})

it('11-minimal-vmm: Linux boots on a monitor of fifty lines', async () => {
  const printed = await example('11-minimal-vmm')
  expect(printed).toContain('Linux version 6.1')
  expect(printed).toContain('node-kvm: init')
  expect(printed).toContain('the guest rebooted')
})
