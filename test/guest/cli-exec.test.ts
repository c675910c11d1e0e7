import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { guestInitramfs, kernelAsset } from '../../lib/testing.js'
import { CLI } from '../helpers/cli.js'

it('node-kvm exec runs programs in a machine that node-kvm run runs', async () => {
  const runtime = mkdtempSync(join(tmpdir(), 'node-kvm-exec-'))
  const env = { ...process.env, XDG_RUNTIME_DIR: runtime }
  const nodeKvm = (args: string[], input = '') =>
    new Promise<{ status: unknown; stdout: string; stderr: string }>((resolve) => {
      const child = execFile(process.execPath, [CLI, ...args], { env }, (error, stdout, stderr) =>
        resolve({ status: error ? error.code : 0, stdout, stderr }),
      )
      child.stdin!.end(input)
    })
  let machine: ChildProcess | undefined
  try {
    const kernel = await kernelAsset('6.12')
    const initrd = await guestInitramfs(kernel, { agent: true })
    const guest = ['-k', kernel.vmlinuz, '-i', initrd, '-a', 'quiet nodekvm.mode=none']
    machine = spawn(process.execPath, [CLI, 'run', ...guest, '--agent', '--name', 'lab'], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
    await expect.poll(() => existsSync(join(runtime, 'node-kvm/lab.sock'))).toBe(true)
    const shell = ['exec', '--env', 'NAME=kvm', 'lab', '--', 'sh', '-c']
    expect(await nodeKvm([...shell, 'cat; echo "$NAME" >&2; exit 3'], 'through\n')).toEqual({
      status: 3,
      stdout: 'through\n',
      stderr: 'kvm\n',
    })
    const bytes = 900_000
    const flood = await nodeKvm([...shell, `head -c ${bytes} /dev/zero | tr '\\0' x`])
    expect([flood.status, flood.stdout.length]).toEqual([0, bytes])
    const missing = await nodeKvm(['exec', 'lab', '--', '/no/such/program'])
    expect(missing.status).toBe(1)
    expect(missing.stderr).toContain('/no/such/program')
    expect((await nodeKvm(['exec', 'lab', '--', 'sh', '-c', 'kill -9 $$'])).status).toBe(137)
    const json = await nodeKvm(['exec', '--json', 'lab', 'sh', '-c', 'echo o; echo e >&2; exit 3'])
    expect(json).toMatchObject({ status: 3, stderr: '' })
    const ended = { stdout: 'o\n', stderr: 'e\n', exitCode: 3, signal: null }
    expect(JSON.parse(json.stdout)).toEqual(ended)

    const tree = join(runtime, 'tree')
    mkdirSync(join(tree, 'sub'), { recursive: true })
    writeFileSync(join(tree, 'sub/file'), 'content\n', { mode: 0o750 })
    symlinkSync('sub/file', join(tree, 'link'))
    expect(await nodeKvm(['cp', tree, 'lab:/tmp'])).toEqual({ status: 0, stdout: '', stderr: '' })
    const look = await nodeKvm([...shell, 'cd /tmp/tree; cat link; stat -c %a sub/file; pwd'])
    expect(look.stdout).toBe('content\n750\n/tmp/tree\n')
    const out = await nodeKvm(['cp', '--json', 'lab:/tmp/tree', runtime])
    expect(out.stderr).toMatch(/ENOTEMPTY/)
    const copied = await nodeKvm(['cp', '--json', 'lab:/tmp/tree', join(runtime, 'again')])
    expect(JSON.parse(copied.stdout)).toMatchObject({ files: 1, folders: 2, links: 1, bytes: 8 })
    expect(readFileSync(join(runtime, 'again/link'), 'utf8')).toBe('content\n')
    const none = await nodeKvm(['cp', 'lab:/nowhere', join(runtime, 'x')])
    expect([none.status, none.stderr]).toEqual([1, expect.stringContaining('ENOENT')])
  } finally {
    if (machine?.exitCode === null) {
      machine.kill('SIGTERM')
      await once(machine, 'exit')
    }
    rmSync(runtime, { recursive: true })
  }
})
