import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { type Import, importsOf, readImports, root, sources } from './helpers/imports.js'

/** Every layer with what it may import besides itself; the table of CONTRIBUTING.md. Files that match none are an error. */
const layers: Record<string, { files: RegExp; imports: string[]; packages?: string[] }> = {
  entry: { files: /^lib\/(index|kvm|devices|rootfs|testing|vitest)\.ts$/, imports: ['*'] },
  util: { files: /^lib\/util\//, imports: ['errors'] },
  errors: { files: /^lib\/errors\.ts$/, imports: [] },
  binding: {
    files: /^lib\/binding[./]/,
    imports: ['util', 'errors'],
    packages: ['node-gyp-build'],
  },
  'kvm/abi': { files: /^lib\/kvm\/abi\//, imports: ['util', 'errors'] },
  kvm: { files: /^lib\/kvm\//, imports: ['util', 'errors', 'binding', 'kvm/abi'] },
  mapping: {
    files: /^lib\/memory\/mapping\.ts$/,
    imports: ['util', 'errors', 'binding', 'memory'],
  },
  memory: { files: /^lib\/memory\//, imports: ['util', 'errors'] },
  bus: { files: /^lib\/bus\//, imports: ['util', 'errors', 'irq-line'] },
  'irq-line': { files: /^lib\/interrupt\/irq-line\.ts$/, imports: ['util', 'errors'] },
  interrupt: {
    files: /^lib\/interrupt\//,
    imports: ['util', 'errors', 'irq-line', 'kvm', 'kvm/abi', 'binding'],
  },
  'backend interface': {
    files: /^lib\/backends\/(\w+)\/\1-backend\.ts$/,
    imports: ['util', 'errors', 'memory'],
  },
  backends: {
    files: /^lib\/backends\//,
    imports: ['util', 'errors', 'memory', 'mapping', 'binding', 'backend interface'],
  },
  devices: {
    files: /^lib\/devices\//,
    imports: ['util', 'errors', 'memory', 'bus', 'irq-line', 'backend interface'],
  },
  arch: { files: /^lib\/arch\//, imports: ['util', 'errors', 'memory', 'kvm/abi'] },
  boot: { files: /^lib\/boot\//, imports: ['util', 'errors', 'memory', 'kvm/abi', 'arch'] },
  debug: {
    files: /^lib\/debug\//,
    imports: ['util', 'errors', 'memory', 'mapping', 'kvm', 'kvm/abi'],
  },
  jail: { files: /^lib\/jail\//, imports: ['errors'] },
  isolation: { files: /^lib\/isolation\//, imports: ['util', 'errors', 'jail'] },
  initramfs: { files: /^lib\/initramfs\//, imports: ['util', 'errors'] },
  assets: {
    files: /^lib\/assets\//,
    imports: ['util', 'errors', 'initramfs'],
    packages: ['xz-decompress'],
  },
  agent: { files: /^lib\/agent\//, imports: ['util', 'errors'] },
  'emulated-host': {
    files: /^lib\/emulated-host\//,
    imports: ['util', 'errors', 'initramfs', 'assets'],
  },
  doctor: {
    files: /^lib\/doctor\//,
    imports: ['util', 'errors', 'memory', 'mapping', 'kvm', 'kvm/abi', 'binding'],
  },
  machine: { files: /^lib\/machine\//, imports: ['*'], packages: ['zod'] },
  observe: { files: /^lib\/observe\//, imports: ['*'], packages: ['prom-client'] },
  'isolated-machine': { files: /^lib\/isolated-machine\//, imports: ['*'] },
  rootfs: {
    files: /^lib\/rootfs\//,
    imports: ['util', 'errors', 'initramfs', 'assets', 'backends', 'machine'],
  },
  testing: {
    files: /^lib\/testing\//,
    imports: ['entry', 'util', 'errors', 'initramfs', 'assets', 'emulated-host'],
    packages: ['vitest'],
  },
  cli: { files: /^lib\/cli\//, imports: ['entry'], packages: ['commander', 'ora'] },
}

/** Above machine: what `*` does not stand for, except in the entry points. */
const ABOVE_MACHINE = ['entry', 'observe', 'isolated-machine', 'rootfs', 'testing', 'cli']

function layerOf(file: string): string | undefined {
  return Object.keys(layers).find((name) => layers[name]!.files.test(file))
}

/** What is wrong with one import, or undefined. */
function violation({ from, to, typeOnly }: Import): string | undefined {
  const layer = layerOf(from)
  if (!layer) return `${from} is in no layer: add it to the table`
  const { imports, packages = [] } = layers[layer]!
  if (to.startsWith('node:')) return undefined
  if (!to.startsWith('lib/')) {
    return packages.includes(to)
      ? undefined
      : `${from} (${layer}) must not import the package ${to}`
  }
  const target = layerOf(to)
  if (!target) return `${from} imports ${to}, which is in no layer`
  if (target === layer && layer !== 'entry') return undefined
  const allowed = imports.includes('*')
    ? layer === 'entry' || !ABOVE_MACHINE.includes(target)
    : imports.includes(target)
  if (!allowed) return `${from} (${layer}) must not import ${to} (${target})`
  if (layer === 'devices' && target === 'backend interface' && !typeOnly) {
    return `${from} may import ${to} by 'import type' only`
  }
  return undefined
}

/** The first cycle found, as a list of files, or undefined. Of type-only imports nothing is left to form one when run. */
function findCycle(imports: readonly Import[]): string[] | undefined {
  const edges = new Map<string, string[]>()
  for (const { from, to, typeOnly } of imports) {
    if (!typeOnly) edges.set(from, [...(edges.get(from) ?? []), to])
  }
  const done = new Set<string>()
  const path: string[] = []
  const visit = (file: string): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return undefined
    path.push(file)
    for (const next of edges.get(file) ?? []) {
      const cycle = visit(next)
      if (cycle) return cycle
    }
    path.pop()
    done.add(file)
    return undefined
  }
  for (const file of edges.keys()) {
    const cycle = visit(file)
    if (cycle) return cycle
  }
  return undefined
}

const files = sources('lib')
const imports = files.flatMap(readImports)

describe('lib', () => {
  it('imports downwards only', () => {
    expect(imports.map(violation).filter((message) => message !== undefined)).toEqual([])
  })

  it('puts every file into a layer', () => {
    expect(files.filter((file) => !layerOf(file))).toEqual([])
  })

  it('imports files that exist, by their full name', () => {
    const known = new Set(files)
    expect(imports.filter(({ to }) => to.startsWith('lib/') && !known.has(to))).toEqual([])
  })

  it('has no import cycle', () => {
    expect(findCycle(imports)?.join(' → ')).toBeUndefined()
  })

  it.each(files.filter((file) => layerOf(file) === 'entry'))('%s only re-exports', (file) => {
    const rest = readFileSync(join(root, file), 'utf8')
      .replace(/\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, '')
      .replace(/export\s+(type\s+)?(\{[^}]*\}|\*(\s+as\s+\w+)?)\s+from\s+'[^']+'/g, '')
    expect(rest.trim()).toBe('')
  })
})

describe('this test', () => {
  const parse = (text: string) => importsOf('lib/devices/serial/uart.ts', text)

  it('sees every form of import', () => {
    const text = `
      import a from 'node:fs'
      import { b, type B } from '../../kvm/kvm.js'
      import type { C } from "../../backends/char/char-backend.js"
      import { type D, type E } from './d.js'
      import {
        f,
      } from './f.js'
      import * as g from './g.js'
      export { h } from './h.js'
      export * from './i.js'
      export type { J } from './j.js'
      import './k.js'
      const l = await import('./l.js')
      import type, { m } from './m.js'
      // import { n } from './n.js'
      /* export * from './o.js' */
      import type p from './p.js'`
    expect(parse(text).map(({ to, typeOnly }) => [to, typeOnly])).toEqual([
      ['node:fs', false],
      ['lib/kvm/kvm.ts', false],
      ['lib/backends/char/char-backend.ts', true],
      ['lib/devices/serial/d.ts', true],
      ...['f', 'g', 'h', 'i'].map((name) => [`lib/devices/serial/${name}.ts`, false]),
      ['lib/devices/serial/j.ts', true],
      ...['k', 'l', 'm'].map((name) => [`lib/devices/serial/${name}.ts`, false]),
      ['lib/devices/serial/p.ts', true],
    ])
  })

  it.each([
    ['lib/devices/serial/uart.ts', 'lib/kvm/vm-fd.ts', false],
    ['lib/devices/serial/uart.ts', 'lib/interrupt/irqfd.ts', true],
    ['lib/devices/serial/uart.ts', 'lib/backends/char/char-backend.ts', false],
    ['lib/devices/serial/uart.ts', 'lib/backends/char/console-output.ts', true],
    ['lib/boot/pvh.ts', 'lib/devices/serial/uart.ts', true],
    ['lib/util/bits.ts', 'lib/binding.ts', true],
    ['lib/errors.ts', 'lib/util/bits.ts', true],
    ['lib/memory/guest-memory.ts', 'lib/binding.ts', true],
    ['lib/machine/assemble.ts', 'lib/index.ts', false],
    ['lib/cli/run.ts', 'lib/machine/virtual-machine.ts', false],
    ['lib/kvm/kvm.ts', 'zod', false],
    ['lib/other/new.ts', 'lib/errors.ts', false],
  ])('refuses %s → %s', (from, to, typeOnly) => {
    expect(violation({ from, to, typeOnly })).toBeDefined()
  })

  it.each([
    ['lib/devices/serial/uart.ts', 'lib/backends/char/char-backend.ts', true],
    ['lib/machine/assemble.ts', 'lib/devices/serial/uart.ts', false],
    ['lib/memory/mapping.ts', 'lib/binding.ts', false],
    ['lib/cli/run.ts', 'lib/index.ts', false],
    ['lib/index.ts', 'lib/machine/virtual-machine.ts', false],
    ['lib/kvm/kvm.ts', 'node:fs', false],
  ])('allows %s → %s', (from, to, typeOnly) => {
    expect(violation({ from, to, typeOnly })).toBeUndefined()
  })

  it('sees a cycle', () => {
    const edge = (from: string, to: string) => ({ from, to, typeOnly: false })
    expect(findCycle([edge('a', 'b'), edge('b', 'c'), edge('c', 'b')])).toEqual(['b', 'c', 'b'])
    expect(findCycle([edge('a', 'b'), edge('a', 'c'), edge('b', 'c')])).toBeUndefined()
    expect(findCycle([edge('a', 'b'), { from: 'b', to: 'a', typeOnly: true }])).toBeUndefined()
  })
})
