import { transform } from 'esbuild'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
// @ts-expect-error: plain JavaScript, as the scripts are
import { formatInput, parseInput } from '../../scripts/lib/fuzz-corpus.mjs'
// @ts-expect-error: plain JavaScript, as the scripts are
import { instrument } from '../../scripts/lib/fuzz-instrument.mjs'
import { corpusOf, fuzz } from './guided.js'
import { choose, feature, Pool } from './pool.js'
import * as probes from './probes.js'
import { shrink } from './shrink.js'

let next = 1
/** A function of TypeScript's, with counters. */
async function instrumented(source: string): Promise<(...values: unknown[]) => unknown> {
  const { text, lines } = instrument(source, 'probe.ts', next)
  next += lines.length
  const { code } = await transform(text, { loader: 'ts' })
  const names = Object.keys(probes).map((name) => `$${name}`)
  return new Function(...names, `${code}; return f`)(...Object.values(probes))
}

const ways = () => {
  let count = 0
  probes.takeReached(() => count++)
  return count
}

const BRANCHES = `
function f(n: number): unknown {
  let out = ''
  if (n > 5) out += 'a'
  else if (n === 3) { out += 'b' }
  if (n < 0) return 'negative'
  for (let i = 0; i < n; i++) if (i % 2) out += i
  switch (n) {
    case 1:
    case 2: out += 'low'; break
    case 7: {
      out += 'seven'
      break
    }
    default:
  }
  const g = (x: number) => ({ x, y: x > 2 ? 'big' : 'small' })
  try { if (n === 4) throw new Error('four') } catch (error) { out += (error as Error).message }
  do { out += '.' } while (out.length < 3)
  return [out, n || 'zero', n && 'some', g(n), n !== 2 && typeof n === 'number', (null ?? n) as number]
}`

describe('instrumented code', () => {
  it('does what it does without', async () => {
    const { code } = await transform(BRANCHES, { loader: 'ts' })
    const plain = new Function(`${code}; return f`)() as (n: number) => unknown
    const f = await instrumented(BRANCHES)
    for (let n = -1; n < 10; n++) expect(f(n)).toEqual(plain(n))
  })

  it('counts each way that a branch goes', async () => {
    const f = await instrumented(
      'function f(n: number) {\n if (n > 5) return 1\n return n ? 2 : 3 }',
    )
    ways()
    const seen = (n: number) => {
      const ids: [number, number][] = []
      f(n)
      probes.takeReached((id, times) => ids.push([id, times]))
      return ids.map(([id]) => id - ids[0]![0])
    }
    expect([seen(6), seen(1), seen(0)]).toEqual([
      [0, 1],
      [0, 2, 3],
      [0, 2, 4],
    ])
  })

  it('tells what it compared', async () => {
    const f = await instrumented(`function f(n: number) {
      switch (n) { case 77: return 1 }
      return n === 1234 || n > 99 || String(n) !== 'word' }`)
    const pairs = await probes.comparisons(() => void f(5))
    expect(pairs).toEqual([
      [5, 77],
      [5, 1234],
      [5, 99],
      ['5', 'word'],
    ])
    ways()
  })
})

describe('guided fuzzing', () => {
  const MAZE = `function f(data: Uint8Array) {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength)
    if (data.length < 12) return
    if (view.getUint32(0, true) !== 0xfeed1234) return
    if (view.getUint16(4, false) < 40000) return
    if (new TextDecoder().decode(data.subarray(6, 10)) === 'core') {
      let bits = 0
      for (let i = 10; i < data.length && data[i] === i; i++) bits++
      if (bits > 1) throw new Error('the end of the maze')
    }
  }`

  it('finds what no random bytes do, and tells of it with the shortest input', async () => {
    const f = await instrumented(MAZE)
    let runs = 0
    const target = { about: 'a maze', run: (data: Uint8Array) => void f(data, runs++) }
    const goOn = () => runs < 500_000
    const { failure } = await fuzz(target, { corpus: [], seed: 1, goOn })
    expect(failure?.message).toContain('the end of the maze')
    expect(failure?.input.length).toBe(12)
  })

  it('makes of what it found a corpus that goes the same ways', async () => {
    const f = await instrumented(MAZE)
    let runs = 0
    const target = {
      about: 'a maze',
      run: (data: Uint8Array) => void f(data.subarray(0, 11), runs++),
    }
    const goOn = () => runs < 50_000
    const { pool } = await fuzz(target, { corpus: [], seed: 2, goOn })
    const corpus = await corpusOf(target, pool.kept, 0)
    const again = await fuzz(target, { corpus, seed: 3, goOn: () => false })
    expect(again.waysBefore).toBe(pool.ways.size)
    expect(corpus.length).toBeLessThan(pool.kept.length)
    for (const input of corpus) expect(input.length).toBeLessThanOrEqual(12)
  })

  it('keeps the shorter of two inputs that do the same', () => {
    const pool = new Pool()
    expect(pool.offer(new Uint8Array(100), [8, 16])).toBe(true)
    expect(pool.offer(new Uint8Array(99), [8, 16])).toBe(false)
    expect(pool.offer(new Uint8Array(10), [8])).toBe(true)
    expect(pool.offer(new Uint8Array(200), [24])).toBe(true)
    expect(pool.kept.map(({ owned }) => owned)).toEqual([1, 1, 1])
    expect(choose(pool.kept, 0).map(({ bytes }) => bytes.length)).toEqual([10, 100, 200])
    expect(pool.offer(new Uint8Array(1), [8, 16, 24])).toBe(true)
    expect(pool.kept.length).toBe(1)
  })

  it('tells seldom from often', () => {
    const kinds = [1, 2, 3, 4, 7, 8, 15, 16, 64, 127, 128, 10_000].map((times) => feature(1, times))
    expect(kinds).toEqual([8, 9, 10, 11, 11, 12, 12, 13, 14, 14, 15, 15])
  })
})

it('what fails is made short', async () => {
  const input = Uint8Array.from({ length: 1000 }, (_, i) => i % 251)
  const short = await shrink(input, async (bytes) => bytes.includes(77) && bytes.length > 2, 3000)
  expect([...short].sort()).toEqual([0, 0, 77])
})

it('inputs are written so that they can be read again', () => {
  expect(formatInput(new Uint8Array(600))).toBe('00*600')
  expect(formatInput(Uint8Array.from([1, ...new Uint8Array(8).fill(0x11), 2]))).toBe('01 11*8 02')
  const bytes = fc.array(fc.tuple(fc.nat(255), fc.integer({ min: 1, max: 20 })), { maxLength: 10 })
  fc.assert(
    fc.property(bytes, (runs) => {
      const input = Uint8Array.from(runs.flatMap(([byte, times]) => Array(times).fill(byte)))
      expect(parseInput(formatInput(input))).toEqual(input)
    }),
  )
})
