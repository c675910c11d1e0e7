import { spawn } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { CLI } from '../helpers/cli.js'
import { exec, SENT, stockKernel } from './stock-guest.js'

/** Runs `node-kvm` and resolves to its exit status and what it printed. */
function nodeKvm(...options: string[]) {
  return new Promise<{ status: number | null; stdout: string }>((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...options], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let stdout = ''
    child.stdout.setEncoding('latin1').on('data', (text: string) => {
      stdout += text
    })
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, stdout }))
  })
}

describe('node-kvm run with a stock kernel', () => {
  it.each([
    ['0, and prints what the guest did, when it powers off', 'poweroff -f', 0],
    ['10 when it resets', 'reboot -f', 10],
  ])('exits with %s', async (_, command, status) => {
    const { kernel, initrd } = await stockKernel('6.1')
    const append = `console=ttyS0 ${exec(`echo "this is $(uname -s)"; ${SENT}; ${command}`)}`
    const run = await nodeKvm('run', '--kernel', kernel, '--initrd', initrd, '--append', append)
    expect(run.stdout).toContain('this is Linux\r\n')
    expect(run.status).toBe(status)
  })
})
