import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { binding } from '../../lib/binding.js'
import { cases } from './ioctls/every-ioctl.js'
import { tryCase } from './ioctls/ioctl-case.js'

/** What docs/ioctl-coverage.json says: by KVM, the ioctls that it offers and that were tested on it. */
const recorded: { testedOn: Record<string, string[]> } = JSON.parse(
  readFileSync(new URL('../../docs/ioctl-coverage.json', import.meta.url), 'utf8'),
)

const kind = readdirSync('/sys/module').find((name) => /^kvm_/.test(name)) ?? 'kvm'
const offered: string[] = []
const refused: Record<string, string> = {}

/** What a kernel says of an ioctl, or of a feature behind it, that it lacks. */
const refusals = ['unsupported', 'ENOTTY', 'EINVAL', 'ENXIO', 'EOPNOTSUPP', 'ENODEV', 'EPERM']

describe('every ioctl', () => {
  it('has a case, on every kind of descriptor that takes it', () => {
    const names = ['system', 'vm', 'vcpu', 'device'] as const
    const listed = binding()
      .ioctls()
      .flatMap(({ name, fds }) =>
        names.filter((_, bit) => fds & (1 << bit)).map((fd) => `${fd} ${name}`),
      )
    expect(cases.map(({ ioctl, fd }) => `${fd} ${ioctl}`).sort()).toEqual(listed.sort())
  })

  it.each(cases)('$ioctl of a $fd', (ioctlCase) => {
    const name = `${ioctlCase.fd} ${ioctlCase.ioctl}`
    const refusal = tryCase(ioctlCase)
    if (refusal === undefined) {
      offered.push(name)
    } else {
      // Where it was offered before it must not be refused now.
      expect(recorded.testedOn[kind] ?? []).not.toContain(name)
      expect(refusals).toContain(refusal)
      refused[name] = refusal
    }
  })
})

afterAll(() => {
  const { NODE_KVM_RECORD_IOCTLS: file } = process.env
  if (file) writeFileSync(file, JSON.stringify({ kind, offered: offered.sort(), refused }))
})
