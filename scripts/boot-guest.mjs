// Boots the guest of `npm start`: boot-guest.mjs KERNEL INITRD DISK [--self-check]. Runs where KVM is fine: on this
// machine or inside the emulated host.
import { execFileSync } from 'node:child_process'
import { performance } from 'node:perf_hooks'
import { attachTerminal } from '../dist/lib/cli/terminal.js'
import { FileDisk, Tap, VirtualMachine } from '../dist/lib/index.js'

const [kernel, initrd, disk, flag] = process.argv.slice(2)
const selfCheck = flag === '--self-check'
const HOST_ADDRESS = '192.168.242.1'
const GUEST_ADDRESS = '192.168.242.2'
const TAP = `nk${process.pid}`.slice(0, 15)
const CHECKS = ['kernel', 'disk', 'net']

const { columns = 80, rows = 24 } = process.stdout
const mode = selfCheck
  ? 'mode=selfcheck'
  : `mode=shell nodekvm.rows=${rows} nodekvm.cols=${columns}`

process.exitCode = await boot()

async function boot() {
  const started = performance.now()
  const tap = await openTap()
  if (tap.why) process.stderr.write(`no network card: ${tap.why}\n`)
  let vm
  try {
    vm = await VirtualMachine.create({
      kernel,
      initrd,
      commandLine: `console=ttyS0 nodekvm.${mode} nodekvm.ip=${GUEST_ADDRESS}/24 nodekvm.peer=${HOST_ADDRESS}`,
      disks: [new FileDisk(disk)],
      nets: tap.nets,
    })
    return await (selfCheck ? check(vm, started) : shell(vm))
  } finally {
    await vm?.close()
    tap.close()
  }
}

/** A TAP interface of our own; without the right to make one the guest has no network card. */
async function openTap() {
  const ip = (...args) =>
    execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'], encoding: 'utf8' })
  try {
    ip('tuntap', 'add', 'dev', TAP, 'mode', 'tap')
    ip('address', 'add', `${HOST_ADDRESS}/24`, 'dev', TAP)
    ip('link', 'set', TAP, 'up')
    return { nets: [new Tap(TAP)], close: () => ip('link', 'delete', TAP) }
  } catch (error) {
    return { nets: [], why: String(error.stderr || error.message).trim(), close: () => {} }
  }
}

async function shell(vm) {
  process.stderr.write('Ctrl-A x leaves.\n')
  const restore = attachTerminal(vm.console, () => void vm.stop())
  try {
    await vm.start()
    const reason = await vm.stopped
    return reason.kind === 'shutdown' || reason.kind === 'killed' ? 0 : 1
  } finally {
    restore()
  }
}

async function check(vm, started) {
  let log = ''
  let toInit
  vm.console.output.setEncoding('latin1')
  vm.console.output.on('data', (text) => {
    process.stdout.write(text)
    log += text
    if (log.includes('node-kvm: init')) toInit ??= performance.now() - started
  })
  const ended = new Promise((resolve) => vm.console.output.once('end', resolve))
  const limit = setTimeout(() => void vm.stop(), 300_000)
  await vm.start()
  const reason = await vm.stopped
  clearTimeout(limit)
  await ended
  return summarize(log, reason, toInit)
}

function summarize(log, reason, toInit) {
  const found = Object.fromEntries(
    [...log.matchAll(/^node-kvm: check (\S+) (\S+) ?(.*?)\r?$/gm)].map(
      ([, name, result, detail]) => [name, { result, detail }],
    ),
  )
  const lines = CHECKS.map(
    (name) =>
      `${name}: ${found[name] ? `${found[name].result} ${found[name].detail}` : 'no answer from the guest'}`,
  )
  const ok =
    CHECKS.every((name) => found[name]?.result === 'ok') &&
    reason.kind === 'shutdown' &&
    toInit !== undefined
  process.stdout.write(
    [
      '',
      'Self-check of the guest:',
      ...lines.map((line) => `  ${line}`),
      `  end: ${reason.kind}${reason.error ? `: ${reason.error.message}` : ''}${reason.detail ? `: ${reason.detail}` : ''}`,
      `  from start to init: ${toInit === undefined ? 'not reached' : `${(toInit / 1000).toFixed(2)} s`}`,
      ok ? 'All is well.' : 'Something is wrong: see above.',
      '',
    ].join('\n'),
  )
  return ok ? 0 : 1
}
