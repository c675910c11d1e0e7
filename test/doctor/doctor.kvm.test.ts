import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { diagnose, formatDiagnosis, kvmUsable } from '../../lib/doctor/diagnosis.js'
import { probeKvm } from '../../lib/doctor/kvm-probe.js'

const virtualizes = /^flags\s*:.*\b(vmx|svm)\b/m.test(readFileSync('/proc/cpuinfo', 'utf8'))

describe('probeKvm', () => {
  it('tells a KVM of the processor from one in software', () => {
    const { state, detail, remedy } = probeKvm()
    expect(state).toBe(virtualizes ? 'fine' : 'software')
    expect(detail).toMatch(/^kvm\w*, .*million guest instructions a second/)
    expect(remedy === '').toBe(virtualizes)
  })

  it('comes to the same conclusion quickly', async () => {
    const { usable, why } = await kvmUsable()
    expect(usable).toBe(virtualizes)
    if (!virtualizes) expect(why).toMatch(/without VT-x or SVM.*cannot run unmodified kernels/)
  })

  it.each([{ quick: true }, { quick: false }])('says that there is none: %o', (options) => {
    const finding = probeKvm({ ...options, path: '/dev/no-such-kvm' })
    expect(finding).toMatchObject({
      state: 'absent',
      detail: expect.stringContaining('/dev/no-such-kvm'),
      remedy: expect.stringContaining('kvm_intel'),
    })
  })

  it('says that something else is in its place', () => {
    expect(probeKvm({ path: '/dev/null' })).toMatchObject({ state: 'broken' })
  })

  it.skipIf(process.getuid?.() !== 0)('says that this user may not use it', () => {
    // Of a file's access rights, as /dev/kvm is open to everybody on some machines.
    const path = join(mkdtempSync(join(tmpdir(), 'node-kvm-doctor-')), 'kvm')
    writeFileSync(path, '', { mode: 0o600 })
    process.seteuid?.(65534)
    try {
      expect(probeKvm({ path })).toMatchObject({
        state: 'forbidden',
        remedy: expect.stringContaining('usermod -aG kvm'),
      })
    } finally {
      process.seteuid?.(0)
      rmSync(dirname(path), { recursive: true })
    }
  })
})

describe('diagnose', () => {
  it('finds what is there, and tells what to do about what is not', async () => {
    const diagnosis = await diagnose()
    const features = new Map(diagnosis.features.map((feature) => [feature.name, feature]))
    expect([...features.keys()]).toEqual(['TAP', 'io_uring', 'huge pages', 'vhost-net'])
    expect(features.get('TAP')?.state === 'absent').toBe(!existsSync('/dev/net/tun'))
    expect(features.get('vhost-net')?.state === 'absent').toBe(!existsSync('/dev/vhost-net'))
    for (const { state, remedy } of diagnosis.features)
      expect(remedy === '').toBe(state === 'ready')
    const lines = formatDiagnosis(diagnosis).split('\n')
    for (const name of ['KVM', ...features.keys()]) {
      expect(lines.filter((line) => line.includes(` ${name}: `))).toHaveLength(1)
    }
    expect(JSON.parse(JSON.stringify(diagnosis))).toEqual(diagnosis)
  })
})
