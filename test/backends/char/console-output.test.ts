import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { ConsoleOutput } from '../../../lib/backends/char/console-output.js'

function put(output: ConsoleOutput, text: string): void {
  for (const byte of Buffer.from(text)) output.put(byte)
}

async function collect(output: ConsoleOutput): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of output) chunks.push(chunk)
  return Buffer.concat(chunks)
}

describe('ConsoleOutput', () => {
  it('delivers what one turn brought as one chunk', async () => {
    const output = new ConsoleOutput()
    const chunks: string[] = []
    output.on('data', (chunk) => chunks.push(String(chunk)))
    await turn()
    put(output, 'hello ')
    put(output, 'world')
    await turn()
    put(output, '!')
    await turn()
    expect(chunks).toEqual(['hello world', '!'])
  })

  it('loses nothing of a burst of 1 MiB in one turn with a live reader', async () => {
    const output = new ConsoleOutput()
    const all = collect(output)
    await turn()
    const sent = Buffer.alloc(1 << 20)
    for (let i = 0; i < sent.length; i++) {
      sent[i] = (i * 7) & 0xff
      output.put(sent[i]!)
    }
    output.end()
    expect(Buffer.compare(await all, sent)).toBe(0)
    expect(output.lost).toBe(0)
  })

  it('loses nothing of many bursts across the end of the ring', async () => {
    const output = new ConsoleOutput({ capacity: 5000 })
    const all = collect(output)
    let sent = ''
    for (let burst = 0; burst < 50; burst++) {
      const text = `burst ${burst} ${'x'.repeat((burst * 331) % 4000)}\n`
      put(output, text)
      sent += text
      await turn()
    }
    output.end()
    expect((await all).toString()).toBe(sent)
    expect(output.lost).toBe(0)
  })

  it('with a stopped reader keeps the start and the end of 100 MB, counts the rest, and grows no further', async () => {
    const output = new ConsoleOutput()
    output.read(0)
    await turn()
    const total = 100_000_000
    const before = process.memoryUsage()
    for (let i = 0; i < total; i++) {
      output.put(i & 0x7f)
      if (i % 1_000_000 === 0) await turn()
    }
    const after = process.memoryUsage()
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(2 << 20)
    expect(output.pending).toBe(output.capacity)
    output.end()
    const read = await collect(output)
    expect(read.length + output.lost).toBe(total)
    expect(read.length).toBeGreaterThanOrEqual(output.capacity)
    expect(read[0]).toBe(0)
    expect(read.at(-1)).toBe((total - 1) & 0x7f)
    const newest = read.subarray(-output.capacity)
    for (let i = 0; i < newest.length; i++) {
      if (newest[i] !== ((total - newest.length + i) & 0x7f))
        expect.fail(`byte ${i} of the newest is wrong`)
    }
  })

  it('ends after what is left, and ignores what comes later', async () => {
    const output = new ConsoleOutput()
    put(output, 'last words')
    output.end()
    output.end()
    put(output, ' never heard')
    expect((await collect(output)).toString()).toBe('last words')
  })

  it('ends without a byte', async () => {
    const output = new ConsoleOutput()
    output.end()
    expect((await collect(output)).length).toBe(0)
  })

  it('is quiet after destroy()', async () => {
    const output = new ConsoleOutput()
    output.resume()
    await turn()
    put(output, 'abc')
    output.destroy()
    put(output, 'def')
    output.end()
    await turn()
    expect(output.pending).toBe(0)
  })

  it('goes on after a reader that throws', async () => {
    const output = new ConsoleOutput()
    const seen: string[] = []
    const thrown: unknown[] = []
    const previous = process.listeners('uncaughtException')
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => thrown.push(error))
    try {
      output.on('data', (chunk) => {
        seen.push(String(chunk))
        if (seen.length === 1) throw new Error('reader')
      })
      await turn()
      put(output, 'one')
      await turn()
      put(output, 'two')
      await turn()
      await turn()
    } finally {
      process.removeAllListeners('uncaughtException')
      for (const listener of previous) process.on('uncaughtException', listener)
    }
    expect(thrown).toHaveLength(1)
    expect(seen).toEqual(['one', 'two'])
  })

  it.each([0, 4095, 2 ** 30 + 1, 5000.5, Number.NaN, Number.POSITIVE_INFINITY])(
    'refuses a capacity of %d',
    (capacity) => {
      expect(() => new ConsoleOutput({ capacity })).toThrow(
        /capacity: expected an integer from 4096/,
      )
    },
  )
})
