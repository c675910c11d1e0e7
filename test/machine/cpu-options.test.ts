import { describe, expect, it } from 'vitest'
import type { VirtualMachineOptions } from '../../lib/index.js'
import { apicIds } from '../../lib/machine/cpu-options.js'
import { parseConfig } from '../../lib/machine/machine-config.js'

const parse = (options: object) => {
  const { cpus, topology } = parseConfig({ kernel: 'x', ...options } as VirtualMachineOptions)
  return [cpus, topology.sockets, topology.cores, topology.threads]
}

describe('topology', () => {
  it.each([
    [{}, [1, 1, 1, 1]],
    [{ cpus: 6 }, [6, 1, 6, 1]],
    [{ cpus: 8, topology: { sockets: 2, threads: 2 } }, [8, 2, 2, 2]],
    [{ topology: { sockets: 2, cores: 3, threads: 2 } }, [12, 2, 3, 2]],
    [{ topology: { threads: 2 } }, [2, 1, 1, 2]],
    [{ cpus: 4, topology: { cores: 4 } }, [4, 1, 4, 1]],
    [{ cpus: 4, topology: {} }, [4, 1, 4, 1]],
  ])('%j', (options, expected) => expect(parse(options)).toEqual(expected))

  it.each([
    [{ cpus: 5, topology: { sockets: 2 } }],
    [{ cpus: 1, topology: { threads: 2 } }],
    [{ cpus: 4, topology: { sockets: 2, cores: 3 } }],
  ])('has to agree with cpus: %j', (options) => {
    const { cpus } = options
    expect(() => parse(options)).toThrow(
      expect.objectContaining({
        code: 'ERR_INVALID_OPTION',
        option: 'topology',
        expected: expect.stringContaining(`cpus, which is ${cpus};`),
      }),
    )
  })

  it.each([
    ['topology', { topology: 2 }],
    ['topology', { topology: null }],
    ['topology.sockets', { topology: { sockets: 0 } }],
    ['topology.cores', { topology: { cores: 1.5 } }],
    ['topology.threads', { topology: { threads: 2 ** 40 } }],
    ['topology.dies', { topology: { dies: 1 } }],
  ])('names %s as what is wrong (%#)', (option, options) => {
    expect(() => parse(options)).toThrow(
      expect.objectContaining({ code: 'ERR_INVALID_OPTION', option }),
    )
  })

  it('leaves gaps between APIC ids', () => {
    expect(apicIds(6, { sockets: 2, cores: 3, threads: 1 })).toEqual([0, 1, 2, 4, 5, 6])
    expect(apicIds(3, { sockets: 1, cores: 3, threads: 1 })).toEqual([0, 1, 2])
  })
})
