import { readFileSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'

// The example imports the package by its own name: here its sources stand for that.
vi.mock('node-kvm/kvm', async () => await import('../../lib/kvm.js'))

describe('examples/01-hello-ioctl', () => {
  it('runs a guest that prints a line', async () => {
    const written: string[] = []
    const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      written.push(String(text))
      return true
    })
    const log = vi.spyOn(console, 'log').mockImplementation((text) => void written.push(text))
    try {
      await import('../../examples/01-hello-ioctl.js')
    } finally {
      write.mockRestore()
      log.mockRestore()
    }
    // One for each byte and the HLT; a signal that comes meanwhile is one more.
    expect(written.join('')).toMatch(/^Hello from the guest!\nhalted after \d+ exits, rip 100d$/)
  })

  it('stays under 60 lines', () => {
    const source = readFileSync(
      new URL('../../examples/01-hello-ioctl.ts', import.meta.url),
      'utf8',
    )
    expect(source.split('\n').length).toBeLessThan(60)
  })
})
