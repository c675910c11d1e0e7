import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { EndMark } from '../../lib/emulated-host/end-mark.js'

const MARK = 'aabaab!'

async function through(chunks: readonly Buffer[]) {
  const stream = new EndMark(Buffer.from(MARK))
  const output: Buffer[] = []
  stream.on('data', (chunk: Buffer) => output.push(chunk))
  const ended = new Promise((resolve) => stream.on('end', resolve))
  for (const chunk of chunks) stream.write(chunk)
  stream.end()
  await ended
  return { text: Buffer.concat(output).toString('latin1'), seen: stream.seen }
}

/** Text of the mark's own letters, so that beginnings of it are common, cut anywhere. */
const cutText = fc
  .tuple(fc.string({ unit: fc.constantFrom('a', 'b', '!'), maxLength: 40 }), fc.array(fc.nat(60)))
  .map(([text, cuts]) => ({ text: text.replaceAll(MARK, ''), cuts: cuts.sort((a, b) => a - b) }))

function cut(text: string, cuts: readonly number[]): Buffer[] {
  const edges = [0, ...cuts.filter((at) => at < text.length), text.length]
  return edges.slice(1).map((edge, index) => Buffer.from(text.slice(edges[index], edge), 'latin1'))
}

describe('EndMark', () => {
  it('passes on what comes before the mark, and nothing after it, however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(cutText, async ({ text, cuts }) => {
        fc.pre(!text.includes(MARK) && !`${text}${MARK}`.slice(0, -1).includes(MARK))
        const result = await through(cut(`${text}${MARK}later`, cuts))
        expect(result).toEqual({ text, seen: true })
      }),
    )
  })

  it('passes on everything when no mark comes', async () => {
    await fc.assert(
      fc.asyncProperty(cutText, async ({ text, cuts }) => {
        fc.pre(!text.includes(MARK))
        expect(await through(cut(text, cuts))).toEqual({ text, seen: false })
      }),
    )
  })

  it('holds back no more than could be the beginning of the mark', () => {
    const stream = new EndMark(Buffer.from(MARK))
    stream.write(Buffer.from('xaab'))
    expect(String(stream.read())).toBe('x')
    stream.write(Buffer.from('b'))
    expect(String(stream.read())).toBe('aabb')
  })
})
