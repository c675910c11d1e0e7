// npm start: boots a stock Debian kernel in a virtual machine. On a terminal: a root shell in it. Otherwise: a
// self-check of console, disk and network, and the exit status says how it went.
import { spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { bootstrap, main, step } from './bootstrap.mjs'
import { packageRoot } from './lib/build-addon.mjs'

const HELP = `usage: npm start [-- OPTIONS]
  --kernel SERIES   Debian kernel: 6.12 (the default) or 6.1
  --self-check      check the guest and power it off, even on a terminal
  --no-install      name missing Debian packages instead of installing them
  --emulate         use the emulated KVM host even where /dev/kvm would do`

await main(async () => {
  const { values } = parseArgs({
    options: {
      kernel: { type: 'string', default: '6.12' },
      'self-check': { type: 'boolean', default: !process.stdin.isTTY },
      'no-install': { type: 'boolean', default: false },
      emulate: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  })
  if (values.help) {
    process.stdout.write(`${HELP}\n`)
    return 0
  }
  const programs = ['ip', 'mkfs.ext4', 'dpkg-deb']
  await bootstrap({ programs, install: !values['no-install'] })
  const { kvmUsable } = await import('../dist/lib/index.js')
  const { usable, why } = await kvmUsable()
  const emulate = values.emulate || !usable
  if (emulate) await bootstrap({ programs: ['qemu-system-x86_64'], install: !values['no-install'] })

  const testing = await import('../dist/lib/testing.js')
  const assets = await step('Preparing the guest', (report) =>
    guestAssets(testing, values.kernel, report),
  )
  const work = mkdtempSync(join(tmpdir(), 'node-kvm-start-'))
  try {
    const disk = join(work, 'disk.img')
    copyFileSync(assets.disk, disk)
    const guest = [
      process.execPath,
      join(packageRoot, 'scripts/boot-guest.mjs'),
      assets.kernel,
      assets.initrd,
      disk,
    ]
    if (values['self-check']) guest.push('--self-check')
    if (!emulate) return await run(guest)
    process.stderr.write(`Using the emulated KVM host: ${usable ? 'as asked' : why}\n`)
    const { exitCode } = await testing.runInEmulatedHost(guest, {
      cwd: packageRoot,
      shareReadWrite: [work],
    })
    return exitCode
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
})

async function guestAssets({ ext4Image, guestInitramfs, kernelAsset }, series, report) {
  const kernel = await kernelAsset(series, 'cloud-amd64', { report })
  return {
    kernel: kernel.vmlinuz,
    initrd: await guestInitramfs(kernel, { report }),
    disk: await ext4Image({ report }),
  }
}

function run([command, ...args]) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: 'inherit' })
    // Ctrl-C reaches the child from the terminal; this process waits for its status.
    process.on('SIGINT', () => {})
    process.on('SIGTERM', () => child.kill('SIGTERM'))
    child.on('error', reject)
    child.on('close', (status) => resolve(status ?? 1))
  })
}
