import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { addonPath } from '../../lib/binding/addon-path.js'

describe('where the addon is', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'node-kvm-addon-'))
    vi.stubEnv('NODE_KVM_PREBUILD', undefined)
  })
  afterEach(() => {
    rmSync(folder, { recursive: true })
    vi.unstubAllEnvs()
  })

  const libc = existsSync('/etc/alpine-release') ? 'musl' : 'glibc'
  const make = (place: string) => {
    const path = join(folder, place)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, '')
    return path
  }

  it('tells the places that it is not in', () => {
    make('prebuilds/linux-x64/node-kvm.another.node')
    expect(() => addonPath(folder)).toThrow(/build\/Release\/node_kvm\.node nor prebuilds/)
  })

  it('is one that was compiled here, before the one that comes with the package', () => {
    const prebuilt = make(`prebuilds/linux-x64/node-kvm.${libc}.node`)
    expect(addonPath(folder)).toBe(prebuilt)
    const compiled = make('build/Release/node_kvm.node')
    expect(addonPath(folder)).toBe(compiled)
  })

  it('is in another folder where the environment says so', () => {
    vi.stubEnv('NODE_KVM_PREBUILD', folder)
    const compiled = make('build/Release/node_kvm.node')
    expect(addonPath('/nowhere')).toBe(compiled)
  })
})
