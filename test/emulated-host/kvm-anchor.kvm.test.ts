import { spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, it } from 'vitest'
import { kvmAnchor } from '../../lib/emulated-host/kvm-anchor.js'

it('holds a VM with interrupt chips and one without, each with a vCPU, until it is killed', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'node-kvm-anchor-'))
  const program = join(folder, 'anchor')
  writeFileSync(program, kvmAnchor())
  chmodSync(program, 0o755)
  const child = spawn(program, { stdio: 'ignore' })
  try {
    const open = () =>
      readdirSync(`/proc/${child.pid}/fd`)
        .map((fd) => readlinkSync(`/proc/${child.pid}/fd/${fd}`))
        .filter((target) => target.includes('kvm'))
        .sort()
    const expected = [
      '/dev/kvm',
      ...[
        'anon_inode:kvm-vcpu:0',
        'anon_inode:kvm-vcpu:0',
        'anon_inode:kvm-vm',
        'anon_inode:kvm-vm',
      ],
    ]
    await expect.poll(open).toEqual(expected)
    await sleep(100)
    expect(child.exitCode).toBeNull()
  } finally {
    child.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  }
})
