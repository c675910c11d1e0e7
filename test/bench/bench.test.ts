import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { BENCHMARKS } from '../../bench/catalogue.js'
import { figure, interleaveNamed } from '../../bench/lib/figure.js'
import { fioScript } from '../../bench/lib/fio.js'
import { readResults } from '../../bench/lib/guest-session.js'
import { compareMatches, type Monitor } from '../../bench/lib/peers.js'
import { cpuSeconds } from '../../bench/lib/process-cpu.js'
import { markdown, page, withFigures } from '../../bench/lib/report.js'
import { svg } from '../../bench/lib/svg.js'
import { root } from '../helpers/imports.js'

const atLeast = { of: 'ratio', bound: 'at least', value: 1 } as const
const atMost = { of: 'ratio', bound: 'at most', value: 1.2 } as const
const reads = figure('reads', 'operations/s', atLeast, [90, 120, 110], {
  name: 'C',
  samples: [100],
})
const cpu = figure('CPU', 's', atMost, [5], { name: 'QEMU', samples: [4] })

it('the catalogue has every benchmark', () => {
  const scripts = readdirSync(join(root, 'bench')).filter((name) => name.endsWith('.ts'))
  const names = scripts.map((name) => name.slice(0, -3))
  expect(Object.keys(BENCHMARKS).sort()).toEqual(
    names.filter((name) => name !== 'main' && name !== 'catalogue').sort(),
  )
})

describe('a figure', () => {
  it('is of medians, and meets its target or not', () => {
    expect(reads).toMatchObject({ ours: 110, peer: 100, peerName: 'C', ratio: 1.1, met: true })
    expect(reads).toMatchObject({ target: 'ratio at least 1', lowerIsBetter: false })
    expect(reads.spread).toEqual({ ours: [90, 120], peer: [100, 100], runs: 3 })
    expect(cpu).toMatchObject({ ratio: 1.25, met: false, lowerIsBetter: true })
    const alone = figure('delay', 'ms', { of: 'ours', bound: 'at most', value: 20 }, [3])
    expect(alone).toMatchObject({ peer: null, ratio: null, met: true, target: 'at most 20' })
    expect(reads.on).toContain(process.version)
  })

  it('stands in the table and in the drawing', () => {
    const table = markdown([reads, cpu]).split('\n')
    expect(table).toHaveLength(4)
    expect(table[2]).toContain('| 110 (90.0–120) | C |')
    const growth = [1, 2, 4].map((count) =>
      figure(`memory per VM, ${count} VM${count > 1 ? 's' : ''}`, 'MiB', undefined, [8 / count]),
    )
    const host = { cpu: 'a <CPU>', cpus: 2, node: 'v20', kvm: 'fine' }
    const marked = '# Title\n<!-- figures -->\nold\n<!-- end of figures -->\nrest\n'
    const whole = withFigures(marked, page([reads], host))
    expect(whole).toMatch(
      /^# Title\n<!-- figures -->\n\n\| figure [\s\S]*\n<!-- end of figures -->\nrest\n$/,
    )
    expect(whole).toContain(`\n- ${reads.on}\n`)
    expect(whole).not.toContain('old')
    // What grows has a column for each number of machines.
    const both = page([growth[2]!, reads, ...growth.slice(0, 2)], host)
    expect(both).toContain(
      '\n| figure | unit | 1 VM | 2 VMs | 4 VMs |\n| --- | --- | --- | --- | --- |\n' +
        '| memory per VM | MiB | 8.00 | 4.00 | 2.00 |\n',
    )
    expect(both.match(/memory per VM/g)).toHaveLength(1)
    expect(both).toContain('| 110 (90.0–120) | C |')
    expect(() => withFigures('', '')).toThrow('<!-- figures -->')
    const drawing = svg([reads, cpu, ...growth], host)
    expect(drawing.match(/<rect /g)).toHaveLength(3) // the ground and two bars
    expect(drawing.match(/<polyline points="\S+ \S+ \S+"/g)).toHaveLength(1)
    expect(drawing).toContain('a &lt;CPU&gt;')
    expect(drawing).not.toContain('NaN')
  })
})

describe('samples', () => {
  it('are taken in turn, by name, and repeated once when that fails', async () => {
    const order: string[] = []
    let failures = 1
    const one = async () => {
      order.push('one')
      if (failures-- > 0) throw new Error('once')
      return new Map([['x', 1]])
    }
    const two = async () => {
      order.push('two')
      return new Map([['x', 2]])
    }
    const [ofOne, ofTwo] = await interleaveNamed(2, [one, two])
    expect(order).toEqual(['one', 'one', 'two', 'one', 'two'])
    expect([ofOne!('x'), ofTwo!('x')]).toEqual([
      [1, 1],
      [2, 2],
    ])
    expect(() => ofOne!('y')).toThrow('y: 0 values of 2')
  })

  it('are compared of the monitors and values that did not fail', async () => {
    const monitor = (name: string): Monitor => ({ name, command: () => [] })
    const [ours, good, bad] = [monitor('node-kvm'), monitor('good'), monitor('bad')]
    const transport = 'virtio-pci'
    const target = { of: 'ratio', bound: 'at least', value: 1 } as const
    const measured: string[] = []
    const made = await compareMatches(
      2,
      [
        { transport, ours, peer: good },
        { transport, ours, peer: bad },
      ],
      async ({ name }) => {
        measured.push(name)
        if (name === 'bad') throw new Error('it is broken')
        return new Map([['x', 3], ...(measured.length < 3 ? ([['y', 4]] as const) : [])])
      },
      [
        { name: 'x', title: 'X', unit: 's', target },
        { name: 'y', title: 'Y', unit: 's', target },
      ],
      ' enough',
    )
    expect(measured).toEqual(['node-kvm', 'good', 'bad', 'bad', 'node-kvm', 'good'])
    expect(made.map(({ name, peerName, ratio }) => [name, peerName, ratio])).toEqual([
      ['X, virtio-pci', 'good enough', 1],
    ])
  })

  it('are read from what a guest says', () => {
    const said =
      'noise\r\nRESULT out-1 123.5\r\nRESULT none \r\nx RESULT no 1\r\nRESULT big 1.5e+06\n'
    expect([...readResults(said)]).toEqual([
      ['out-1', 123.5],
      ['big', 1.5e6],
    ])
  })

  it("come from the right fields of fio's terse output", () => {
    const job = { depth: 1 } as const
    const script = fioScript(
      '/dev/vda',
      [
        { ...job, name: 'r', rw: 'randread', blockSize: '4k' },
        { ...job, name: 'w', rw: 'randwrite', blockSize: '4k' },
        { ...job, name: 's', rw: 'write', blockSize: '128k' },
      ],
      3,
    )
    const awk = /awk -F';' '(.*)' \/tmp\/fio/s.exec(script)![1]!
    // Field 8 is the operations per second of reads, 48 and 49 are bandwidth in KiB/s and operations of writes.
    const line = (name: string) =>
      Array.from({ length: 60 }, (_, i) => (i === 2 ? name : `${i + 1}`)).join(';')
    const output = execFileSync('awk', ['-F;', awk], {
      input: ['r', 'w', 's'].map(line).join('\n'),
      encoding: 'utf8',
    })
    expect([...readResults(output)]).toEqual([
      ['r', 8],
      ['w', 49],
      ['s', 0.049152],
    ])
  })
})

it('CPU time of a process is counted', () => {
  const before = cpuSeconds(process.pid)
  const end = performance.now() + 10_000
  while (cpuSeconds(process.pid) === before && performance.now() < end);
  expect(cpuSeconds(process.pid)).toBeGreaterThan(before)
})
