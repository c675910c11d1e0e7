import { describe, expect, it } from 'vitest'
import { lateModules } from '../../lib/cli/late-modules.js'

describe('modules of Node that are loaded late', () => {
  const loaded: string[] = []
  const contents = Object.freeze({ a: 1, f: () => 'f' })
  const asked = Object.assign(
    (id: string) => {
      loaded.push(id)
      return contents
    },
    { cache: {} },
  ) as unknown as NodeJS.Require
  const late = lateModules(asked)

  it('are loaded when something in them is asked for', () => {
    const module = late('node:crypto') as typeof contents
    expect(loaded).toEqual([])
    expect(module.a).toBe(1)
    expect(loaded).toContain('node:crypto')
    expect(module.f()).toBe('f')
    expect('f' in module).toBe(true)
    expect('g' in module).toBe(false)
    expect({ ...module }).toEqual({ ...contents })
  })

  it('are no others than are listed', () => {
    expect(late('node:fs')).toBe(contents)
    expect(late.cache).toBe(asked.cache)
  })
})
