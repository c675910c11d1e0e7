import { createHash } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { VirtualMachine } from '../../lib/index.js'
import { guestInitramfs } from '../../lib/testing.js'
import { stockKernel } from './stock-guest.js'

let vm: VirtualMachine
let folder: string
let shared: string
let log = ''
beforeAll(async () => {
  const { asset, kernel } = await stockKernel()
  const initrd = await guestInitramfs(asset, { agent: true })
  folder = mkdtempSync(join(tmpdir(), 'node-kvm-exec-'))
  const started = performance.now()
  const commandLine = 'console=ttyS0 nodekvm.mode=none'
  shared = join(folder, 'shared')
  mkdirSync(shared)
  const shares = [
    { tag: 'work', path: shared },
    { tag: 'look', path: shared, readOnly: true },
  ]
  vm = await VirtualMachine.create({
    kernel,
    initrd,
    commandLine,
    agent: { startTimeout: 170_000 },
    shares,
  })
  vm.console.output.setEncoding('latin1').on('data', (text: string) => {
    log += text
  })
  await vm.start()
  // Waits for the agent.
  const { stdout } = await vm.exec(['uname', '-a'])
  const milliseconds = Math.round(performance.now() - started)
  process.stdout.write(`from create to the result of uname: ${milliseconds} ms\n${stdout}`)
})
afterEach((context) => {
  if (context.task.result?.state === 'fail') process.stdout.write(`The guest's log:\n${log}\n`)
})
afterAll(async () => {
  await vm?.close()
  rmSync(folder, { recursive: true, force: true })
})

describe('a program in a stock guest', () => {
  it('gives its output and its status', async () => {
    expect(
      await vm.exec(['sh', '-c', 'uname; echo "$A" >&2; exit 3'], { env: { A: 'b' } }),
    ).toEqual({ stdout: 'Linux\n', stderr: 'b\n', exitCode: 3, signal: null })
    expect((await vm.exec(['pwd'], { cwd: '/proc' })).stdout).toBe('/proc\n')
    expect((await vm.exec(['sh', '-c', 'kill -9 $$'])).signal).toBe('SIGKILL')
  })

  it('that is missing is named', async () => {
    await expect(vm.exec(['no-such-program'])).rejects.toMatchObject({
      code: 'ERR_EXEC',
      value: 'no-such-program',
      cause: { code: 'ENOENT' },
    })
  })

  it('ends at its time limit, and the guest goes on', async () => {
    await expect(vm.exec(['sleep', '4321'], { timeout: 300 })).rejects.toMatchObject({
      code: 'ERR_TIMEOUT',
    })
    const { stdout } = await vm.exec(['ps'])
    expect(stdout).toContain('node-kvm-agent')
    expect(stdout).not.toContain('4321')
  })

  it('takes and gives megabytes, and waits for who reads them', async () => {
    const bytes = Buffer.alloc(4_000_000, 'abcdefgh')
    const { stdout } = await vm.exec(['md5sum'], { stdin: bytes })
    expect(stdout.slice(0, 32)).toBe(createHash('md5').update(bytes).digest('hex'))
    let received = 0
    const slow = new Writable({
      write(chunk: Buffer, _encoding, done) {
        received += chunk.length
        setImmediate(done)
      },
    })
    await vm.exec(['head', '-c', '16000000', '/dev/zero'], { stdout: slow })
    expect(received).toBe(16_000_000)
  })

  it('has a terminal if it is to', async () => {
    await using shell = await vm.spawn(['sh', '-c', 'stty size; exec cat'], {
      tty: { rows: 30, columns: 90 },
    })
    let text = ''
    const sized = new Promise<void>((resolve) => {
      shell.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString()
        if (text.includes('30 90\r\n')) resolve()
      })
    })
    // Not before: the echo of what is typed may stand anywhere in what is being printed.
    await sized
    shell.stdin.end('typed\n')
    expect(await shell.closed).toEqual({ exitCode: 0, signal: null })
    // What is typed is echoed, whenever that is, and printed by cat.
    expect(text.match(/typed\r\n/g)).toHaveLength(2)
  })

  it('runs beside others', async () => {
    const runs = Array.from({ length: 8 }, (_, i) => vm.exec(['echo', String(i)]))
    expect((await Promise.all(runs)).map(({ stdout }) => stdout)).toEqual(
      Array.from({ length: 8 }, (_, i) => `${i}\n`),
    )
  })

  it('that plays the agent without being root is not taken for it', async () => {
    expect(vm.agent?.connected).toBe(true)
    // A user of the guest who is not root cannot play the agent.
    const { stdout } = await vm
      .exec(['/sbin/node-kvm-agent'], { uid: 1000, gid: 1000, timeout: 1500 })
      .catch(() => ({ stdout: 'no connection' }))
    expect(stdout).toBe('no connection')
    expect(vm.agent?.connected).toBe(true)
  })
})

describe('files of a stock guest', () => {
  it('are copied in and out', async () => {
    const from = join(folder, 'from')
    const to = join(folder, 'to')
    writeFileSync(from, Buffer.alloc(1_234_567, 'file'), { mode: 0o750 })
    await vm.copyIn(from, '/tmp/file')
    const { stdout } = await vm.exec(['ls', '-l', '/tmp/file'])
    expect(stdout).toMatch(/^-rwxr-x--- .* 1234567 /)
    await vm.copyOut('/tmp/file', to)
    expect(readFileSync(to).equals(readFileSync(from))).toBe(true)
    expect(statSync(to).mode & 0o777).toBe(0o750)
    await expect(vm.copyOut('/nowhere', to)).rejects.toMatchObject({
      code: 'ERR_GUEST_FILE',
      cause: { code: 'ENOENT' },
    })
  })
})

describe('a shared folder in a stock guest', () => {
  const sh = (script: string) => vm.exec(['sh', '-c', script])

  it('is read and written', async () => {
    writeFileSync(join(shared, 'from-host'), Buffer.alloc(1_000_000, 'host'))
    mkdirSync(join(shared, 'many'))
    for (let i = 0; i < 300; i++) writeFileSync(join(shared, 'many', `file-${i}`), `${i}\n`)
    const { stdout, stderr } = await sh(`set -e
      mkdir -p /mnt/work /mnt/look
      mount -t virtiofs work /mnt/work
      mount -t virtiofs look /mnt/look
      cd /mnt/work
      md5sum <from-host
      ls many | wc -l
      cat many/file-299
      dd if=/dev/zero bs=64k count=10 2>/dev/null | tee big | wc -c
      mkdir made; echo content >made/file; mv made/file made/moved; ln -s moved made/link
      cat made/link; chmod 4711 made/moved; stat -c %a made/moved
      cp made/moved copy; rm made/moved; rmdir many 2>/dev/null || echo not empty
      sync; df -k . | tail -n 1 | wc -w`)
    expect(stderr).toBe('')
    const host = createHash('md5')
      .update(readFileSync(join(shared, 'from-host')))
      .digest('hex')
    expect(stdout.split('\n')).toEqual([
      `${host}  -`,
      ...['300', '299', '655360', 'content', '711', 'not empty', '6', ''],
    ])
    expect(statSync(join(shared, 'big')).size).toBe(655_360)
    expect(readFileSync(join(shared, 'copy'), 'utf8')).toBe('content\n')
    expect(existsSync(join(shared, 'made/moved'))).toBe(false)
  })

  it('shows what the host does, and cannot be changed where it is read-only', async () => {
    writeFileSync(join(shared, 'later'), 'later\n')
    const { stdout } = await sh(`cat /mnt/look/later
      echo x >/mnt/look/later || echo refused
      rm /mnt/look/later || echo refused`)
    expect(stdout).toBe('later\nrefused\nrefused\n')
    expect(readFileSync(join(shared, 'later'), 'utf8')).toBe('later\n')
  })

  it('ends at its root', async () => {
    symlinkSync('/etc/passwd', join(shared, 'out'))
    const { stdout } = await sh(`cat /mnt/work/out 2>&1; ls /mnt/work/../..`)
    expect(stdout).toContain("can't open '/mnt/work/out'")
  })
})

it('an end of the guest ends what runs in it', async () => {
  const run = vm.exec(['sleep', '1000'])
  setTimeout(() => void vm.stop(), 200)
  await expect(run).rejects.toMatchObject({ code: 'ERR_AGENT' })
  await expect(vm.exec(['true'])).rejects.toThrow('the guest has ended')
})
