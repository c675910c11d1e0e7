import { constants } from 'node:os'
import type { Command } from 'commander'
import {
  describeStopReason,
  type GuestExit,
  type GuestProcess,
  kvmUsable,
  type SpawnOptions,
  VirtualMachine,
  VmmError,
} from '../index.js'
import { openRootfs, type RootfsProcess } from '../rootfs.js'
import { runHere } from './emulated.js'
import { EXIT_STATUS, exitStatus } from './exit-status.js'
import { machineOptions, type RunOptions, writableFolders } from './machine-options.js'
import { endOf, printEnd, type RunEnd } from './run-end.js'

/** As shells have it: a program that is there and cannot be run, and one that is not there. */
const CANNOT_RUN = 126
const NOT_FOUND = 127

/** Milliseconds for what the command's last words may take, if others hold its outputs open. */
const LAST_WORDS_MS = 500
/** Milliseconds for the guest to start in. One whose kernel gives up ends sooner. */
const START_MS = 600_000
/** Bytes of what the guest's console said last, for when something goes wrong. */
const CONSOLE_TAIL = 16384

/** `node-kvm run --rootfs PATH [-- COMMAND]`: the status is the command's. */
export async function runRootfs(
  argv: readonly string[],
  options: RunOptions & { rootfs: string },
  command: Command,
): Promise<number> {
  for (const name of ['kernel', 'initrd', 'config'] as const) {
    if (options[name] !== undefined) command.error(`error: --rootfs does not go with --${name}`)
  }
  await using rootfs = await openRootfs(options.rootfs)
  const program = argv.length > 0 ? argv : rootfs.process.argv
  if (program.length === 0) command.error('error: the image names no command: give one after --')
  const { kernel, commandLine = '', disks = [], ...rest } = rootfs.machine
  const given = await machineOptions({ ...options, kernel: kernel as string }, command)
  const remote = await runHere(options.emulate, writableFolders(given, options), kvmUsable)
  if (remote !== undefined) return remote
  const append = command.getOptionValueSource('append') === 'default' ? '' : ` ${options.append}`
  await using vm = await VirtualMachine.create({
    ...given,
    ...rest,
    commandLine: commandLine + append,
    agent: { startTimeout: START_MS },
    disks: [...disks, ...given.disks],
  })
  const end = await runIn(vm, program, rootfs.process, options.timeout)
  if (options.json) printEnd(end)
  return end.status
}

async function runIn(
  vm: VirtualMachine,
  argv: readonly string[],
  context: RootfsProcess,
  timeout: number | undefined,
): Promise<RunEnd> {
  let said = ''
  vm.console.output.setEncoding('latin1').on('data', (text: string) => {
    said = (said + text).slice(-CONSOLE_TAIL)
  })
  let status: number | undefined
  const timer =
    timeout === undefined
      ? undefined
      : setTimeout(() => {
          status = EXIT_STATUS.timeout
          void vm.stop()
        }, timeout * 1000)
  try {
    await vm.start()
    const exit = await passThrough(vm, argv, context)
    return { kind: 'command', ...exit, status: statusOf(exit) }
  } catch (error) {
    if (!(error instanceof VmmError) || error.code === 'ERR_INVALID_OPTION') throw error
    if (error.code === 'ERR_EXEC') {
      process.stderr.write(`node-kvm: ${error.message}\n`)
      return { kind: 'error', error: error.message, status: statusOfExec(error) }
    }
    if (status !== undefined) return { kind: 'killed', status }
    process.stderr.write(`${said}\nnode-kvm: ${error.message}\n`)
    if (vm.state !== 'stopped') {
      return { kind: 'error', error: error.message, status: EXIT_STATUS.hostError }
    }
    const reason = await vm.stopped
    process.stderr.write(`node-kvm: ${describeStopReason(reason)}\n`)
    // The command has not ended: it did not end well.
    return endOf(reason, exitStatus(reason) || EXIT_STATUS.hostError)
  } finally {
    clearTimeout(timer)
  }
}

function statusOfExec(error: VmmError): number {
  const { code } = (error.cause ?? {}) as { code?: unknown }
  return code === 'ENOENT' ? NOT_FOUND : CANNOT_RUN
}

/** Joins this process's streams, terminal and signals to a program of the guest's. */
async function passThrough(
  vm: VirtualMachine,
  argv: readonly string[],
  { env, cwd, uid, gid }: RootfsProcess,
): Promise<GuestExit> {
  const { stdin, stdout, stderr } = process
  const isTerminal = stdin.isTTY === true && stdout.isTTY === true
  const size = () => ({ rows: stdout.rows ?? 24, columns: stdout.columns ?? 80 })
  const spawnOptions: SpawnOptions = { env, cwd, uid, gid }
  if (isTerminal) {
    spawnOptions.tty = size()
    if (process.env.TERM) spawnOptions.env = { TERM: process.env.TERM, ...env }
  }
  const program = await vm.spawn(argv, spawnOptions)
  const onResize = () => program.resize(size().rows, size().columns)
  const restore = () => {
    if (isTerminal) stdin.setRawMode(false)
  }
  if (isTerminal) {
    stdin.setRawMode(true)
    stdout.on('resize', onResize)
    process.once('exit', restore)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR2'] as const
  const onSignal = (signal: NodeJS.Signals) => program.kill(signal)
  for (const signal of signals) process.on(signal, onSignal)
  stdin.pipe(program.stdin)
  program.stdin.on('error', () => {})
  program.stdout.pipe(stdout, { end: false })
  program.stderr.pipe(stderr, { end: false })
  try {
    return await lastWords(program)
  } finally {
    for (const signal of signals) process.removeListener(signal, onSignal)
    stdout.removeListener('resize', onResize)
    process.removeListener('exit', restore)
    restore()
    stdin.unpipe(program.stdin)
    stdin.pause()
    stdin.unref?.()
  }
}

async function lastWords(program: GuestProcess): Promise<GuestExit> {
  const exit = await program.exited
  const timer = new AbortController()
  const { setTimeout: sleep } = await import('node:timers/promises')
  await Promise.race([
    program.closed,
    sleep(LAST_WORDS_MS, undefined, { signal: timer.signal }).catch(() => {}),
  ])
  timer.abort()
  return exit
}

function statusOf({ exitCode, signal }: GuestExit): number {
  if (signal === null) return exitCode ?? EXIT_STATUS.hostError
  return 128 + (constants.signals[signal] ?? 0)
}
