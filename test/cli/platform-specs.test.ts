import { describe, expect, it } from 'vitest'
import {
  parseAffinitySpec,
  parseNumaSpec,
  parseVirtioMemSpec,
  parseWatchdogSpec,
} from '../../lib/cli/platform-specs.js'

describe('--virtio-mem', () => {
  it.each([
    ['4G', { maxSize: '4G' }],
    ['4G,size=1G,block=8M,node=1', { maxSize: '4G', size: '1G', blockSize: '8M', node: 1 }],
  ])('%s', (text, spec) => expect(parseVirtioMemSpec(text)).toEqual(spec))

  it.each(['', ',size=1G', '4G,', '4G,size', '4G,size=', '4G,max=1', '4G,node=x'])(
    'refuses %j',
    (text) => expect(() => parseVirtioMemSpec(text)).toThrow(/expected MAX\[,size|whole number/),
  )
})

describe('--numa', () => {
  it.each([
    ['1G', { memory: '1G' }],
    ['1G,cpus=0-2+7', { memory: '1G', cpus: [0, 1, 2, 7] }],
    ['1G,cpus=3,distances=10+21', { memory: '1G', cpus: [3], distances: [10, 21] }],
    ['1G,host=0-1', { memory: '1G', host: { nodes: [0, 1] } }],
    [
      '1G,policy=interleave,host=1',
      { memory: '1G', host: { nodes: [1], policy: 'interleave' as const } },
    ],
  ])('%s', (text, spec) => expect(parseNumaSpec(text)).toEqual(spec))

  it.each([
    ...['', ',cpus=0', '1G,', '1G,cpus', '1G,cpus=', '1G,cpus=x', '1G,cpus=2-1', '1G,cpus=0-'],
    ...['1G,cpus=0+', '1G,cpus=-1', '1G,cpus=0-4096', '1G,size=1G', '1G,policy=bind'],
  ])('refuses %j', (text) =>
    expect(() => parseNumaSpec(text)).toThrow(/expected|policy= goes with host=/),
  )
})

describe('--watchdog', () => {
  it.each([
    ['ib700', { model: 'ib700' as const }],
    ['i6300esb,expire=reset', { model: 'i6300esb' as const, onExpire: 'reset' as const }],
  ])('%s', (text, spec) => expect(parseWatchdogSpec(text)).toEqual(spec))

  it.each(['ib700,', 'ib700,reset', 'ib700,expire='])('refuses %j', (text) =>
    expect(() => parseWatchdogSpec(text)).toThrow('expected MODEL[,expire=stop|reset]'),
  )
})

describe('--cpu-affinity', () => {
  it.each([
    ['0', [[0]]],
    ['0:1', [[0], [1]]],
    ['0-1:2+4:', [[0, 1], [2, 4], []]],
  ])('%s', (text, lists) => expect(parseAffinitySpec(text)).toEqual(lists))

  it.each(['x', '0:1,2', '0-', '1-0'])('refuses %j', (text) =>
    expect(() => parseAffinitySpec(text)).toThrow('numbers and ranges'),
  )
})
