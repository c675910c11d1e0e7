import { expect, it, vi } from 'vitest'

// The example imports the package by its own name: here its sources stand for that.
vi.mock('node-kvm', async () => await import('../../lib/index.js'))

it('examples/03-bare-metal prints a line and resets', async () => {
  const written: string[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((text) => void written.push(text))
  try {
    await import('../../examples/03-bare-metal.js')
  } finally {
    log.mockRestore()
  }
  expect(written.slice(0, -1).join('').replaceAll('the guest says ', '')).toBe('hello')
  expect(written.at(-1)).toMatch(/reboot|reset/)
})
