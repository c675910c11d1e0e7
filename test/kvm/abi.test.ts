import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { binding } from '../../lib/binding.js'
import * as ioctlNumbers from '../../lib/kvm/abi/ioctls.js'
import * as kvmApi from '../../lib/kvm.js'

interface Layout {
  structName: string
  size: number
  fields: Record<string, { offset: number; size: number }>
}

/** Our structs by their C names, the nested ones too. */
function ourStructs(): Map<string, Layout> {
  const found = new Map<string, Layout>()
  const add = (type: Layout & (new () => Record<string, unknown>)) => {
    if (found.has(type.structName)) return
    found.set(type.structName, type)
    const object = new type()
    for (const name of Object.keys(type.fields)) {
      const value = object[name]
      const item = Array.isArray(value) ? value[0] : value
      if (typeof item === 'object' && item !== null && 'toObject' in item) {
        add(item.constructor as Layout & (new () => Record<string, unknown>))
      }
    }
  }
  for (const value of Object.values(kvmApi)) {
    if (typeof value === 'function' && 'structName' in value) add(value as never)
  }
  return found
}

const constants: [string, number | bigint][] = Object.entries(kvmApi).flatMap(([name, value]) =>
  typeof value === 'number' || typeof value === 'bigint' ? [[name, value]] : [],
)

// What this machine's headers say, from scripts/print-abi.c.
const sizes = new Map<string, number>()
const fields = new Map<string, [offset: number, size: number]>()
const values = new Map<string, bigint>()

beforeAll(() => {
  const folder = mkdtempSync(join(tmpdir(), 'node-kvm-abi-'))
  try {
    const list = join(folder, 'values.h')
    writeFileSync(
      list,
      constants.map(([name]) => `#ifdef ${name}\nVALUE(${name})\n#endif\n`).join(''),
    )
    const source = fileURLToPath(new URL('../../scripts/print-abi.c', import.meta.url))
    const program = join(folder, 'print-abi')
    execFileSync('cc', ['-Wall', '-Werror', `-DABI_VALUES="${list}"`, '-o', program, source])
    for (const line of execFileSync(program, { encoding: 'utf8' }).trim().split('\n')) {
      const [kind, name, ...rest] = line.split(' ') as [string, string, ...string[]]
      if (kind === 'size') sizes.set(name, Number(rest[0]))
      else if (kind === 'value') values.set(name, BigInt(rest[0]!))
      else fields.set(`${name}.${rest[0]}`, [Number(rest[1]), Number(rest[2])])
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

/** Newer than Debian 12's headers, or a part of a union that those name otherwise. */
const mayBeAbsent =
  /^(kvm_memory_attributes|kvm_pre_fault_memory|kvm_run\.(tdx|memory_fault|snp_req_certs)|kvm_exit_snp_req_certs|kvm_tdx_cmd|kvm_run\.hypercall\.flags|kvm_xen_hvm_attr\.(runstate_update_flag|evtchn\.(port|eventfd))|kvm_xen_vcpu_attr\.runstate\.)/

describe('the layouts', () => {
  it('have the sizes of the headers', () => {
    const ours = ourStructs()
    for (const [name, size] of sizes) expect([name, ours.get(name)?.size]).toEqual([name, size])
    expect(sizes.size).toBeGreaterThan(50)
  })

  it('have their fields where the headers have them', () => {
    const ours = ourStructs()
    for (const [path, where] of fields) {
      const dot = path.lastIndexOf('.')
      const field = ours.get(path.slice(0, dot))?.fields[path.slice(dot + 1)]
      expect([path, field?.offset, field?.size]).toEqual([path, ...where])
    }
    expect(fields.size).toBeGreaterThan(350)
  })

  it('are all compared', () => {
    const missing: string[] = []
    for (const [name, { fields: own }] of ourStructs()) {
      for (const field of Object.keys(own)) {
        if (!fields.has(`${name}.${field}`) && !mayBeAbsent.test(`${name}.${field}`))
          missing.push(`${name}.${field}`)
      }
    }
    expect(missing).toEqual([])
  })
})

describe('the constants', () => {
  it('have the values of the headers', () => {
    const differing = constants.filter(([name, value]) => {
      const theirs = values.get(name)
      return theirs !== undefined && theirs !== BigInt.asUintN(64, BigInt(value))
    })
    expect(differing).toEqual([])
    expect(values.size).toBeGreaterThan(480)
  })

  it('for ioctls are those of the addon, and there is one for each', () => {
    const table = Object.fromEntries(
      binding()
        .ioctls()
        .map(({ name, request }) => [name, request]),
    )
    expect({ ...ioctlNumbers }).toEqual(table)
  })
})
