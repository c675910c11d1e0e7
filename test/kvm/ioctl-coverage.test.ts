import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { binding } from '../../lib/binding.js'

const script = fileURLToPath(new URL('../../scripts/ioctl-coverage.mjs', import.meta.url))
const coverage = (mode: string) =>
  execFileSync(process.execPath, [script, mode], { encoding: 'utf8' })

it('the coverage table is what its data say', () => {
  expect(() => coverage('--check')).not.toThrow()
})

it('the coverage lists every ioctl of the addon, on every kind of descriptor', () => {
  const names = ['system', 'vm', 'vcpu', 'device'] as const
  const listed = binding()
    .ioctls()
    .flatMap(({ name, fds }) =>
      names.filter((_, bit) => fds & (1 << bit)).map((fd) => `${fd} ${name}`),
    )
  const rows: {
    ioctl: string
    fd: string
    wrapped: boolean
    kvmIoctls: boolean
    testedOn: string[]
  }[] = JSON.parse(coverage('--json'))
  expect(rows.map(({ fd, ioctl }) => `${fd} ${ioctl}`)).toEqual(listed.sort())
  for (const { wrapped, testedOn } of rows) {
    expect(wrapped).toBe(true)
    expect(testedOn.length).toBeGreaterThan(0)
  }
})
