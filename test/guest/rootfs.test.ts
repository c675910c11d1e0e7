import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { VirtualMachine } from '../../lib/index.js'
import { openRootfs } from '../../lib/rootfs.js'
import { busyboxAsset } from '../../lib/testing.js'
import { CLI } from '../helpers/cli.js'

let folder: string
let tree: string
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'node-kvm-rootfs-'))
  tree = join(folder, 'tree')
  mkdirSync(join(tree, 'bin'), { recursive: true })
  mkdirSync(join(tree, 'many'))
  writeFileSync(join(tree, 'bin/busybox'), await busyboxAsset())
  chmodSync(join(tree, 'bin/busybox'), 0o755)
  for (const name of ['sh', 'cat', 'ls', 'stat', 'sleep', 'id', 'find', 'wc', 'md5sum', 'stty']) {
    symlinkSync('busybox', join(tree, 'bin', name))
  }
  for (let i = 0; i < 500; i++) writeFileSync(join(tree, 'many', `file-${i}`), `${i}`)
  writeFileSync(join(tree, 'secret'), 'for root', { mode: 0o600 })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('a machine with a folder as its root', () => {
  it('runs programs in it, and keeps nothing of what they write', async () => {
    const log: string[] = []
    const started = performance.now()
    await using rootfs = await openRootfs(tree)
    const made = performance.now()
    await using vm = await VirtualMachine.create({
      ...rootfs.machine,
      agent: { startTimeout: 170_000 },
    })
    vm.console.output.setEncoding('latin1').on('data', (text: string) => log.push(text))
    await vm.start()
    const sh = (script: string, options = {}) => vm.exec(['sh', '-c', script], options)
    const first = await sh('echo hello').catch((error: unknown) => {
      process.stdout.write(log.join(''))
      throw error
    })
    const times = [made - started, performance.now() - made].map(Math.round)
    process.stdout.write(`image: ${times[0]} ms; from create to the first result: ${times[1]} ms\n`)
    expect(first.stdout).toBe('hello\n')
    expect((await sh('ls /many | wc -l; cat /many/file-123 /many/file-499')).stdout).toBe(
      '500\n123499',
    )
    expect((await sh('md5sum </bin/busybox')).stdout).toMatch(/^[0-9a-f]{32}/)
    expect((await sh('stat -c "%a %F %N" /bin/sh /secret')).stdout).toContain('600 regular file')
    expect((await sh('cat /secret', { uid: 1000, gid: 1000 })).exitCode).not.toBe(0)
    expect((await sh('echo changed >/many/file-1; cat /many/file-1')).stdout).toBe('changed\n')
    expect((await sh('rm -r /many; ls /')).stdout).not.toContain('many')
    // The agent is the first process, in that root.
    expect((await sh('cat /proc/1/comm; ls /dev/null /sys/kernel /proc/self/exe')).stdout).toMatch(
      /^agent\n/,
    )
  })
})

describe('node-kvm run --rootfs', () => {
  it('passes streams, signals and the status through', async () => {
    const script = 'cat; echo err >&2; trap "exit 42" TERM; echo ready; while :; do sleep 0.1; done'
    const options = ['run', '--json', '--rootfs', tree]
    const child = spawn(process.execPath, [CLI, ...options, '--', 'sh', '-c', script])
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
      if (stdout.includes('ready')) child.kill('SIGTERM')
    })
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    child.stdin.end('from the host\n')
    const status = await new Promise((resolve) => child.once('close', resolve))
    expect({ status, stdout }).toEqual({ status: 42, stdout: 'from the host\nready\n' })
    // The shell may say after it that its child was terminated.
    expect(stderr).toMatch(/^err\n/)
    const end = JSON.parse(stderr.trimEnd().split('\n').at(-1)!)
    expect(end).toEqual({ kind: 'command', exitCode: 42, signal: null, status: 42 })
  })
})
