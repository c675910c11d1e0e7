// Builds the native addon with node-gyp, without fetching anything. Shared by the package's install script, which runs
// before anything is compiled, and by the developers' scripts; so plain JavaScript, and nothing but Node's own modules
// and node-gyp-build.
import { spawn, spawnSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)

/** The package's own folder. */
export const packageRoot = fileURLToPath(new URL('../..', import.meta.url))

/** Whether this is a clone of the repository and not an installed package. */
export const isCheckout = existsSync(join(packageRoot, 'tsconfig.json'))

export const platformSupported = process.platform === 'linux' && process.arch === 'x64'

/** The file that `binding()` would load, or undefined. */
export function findAddon() {
  try {
    return require('node-gyp-build').resolve(packageRoot)
  } catch {
    return undefined
  }
}

/** Whether there is an addon that is no older than its sources. Those of an installed package never change. */
export function addonIsFresh() {
  const addon = findAddon()
  if (!addon) return false
  return !isCheckout || (statSync(addon).mtimeMs >= newestSource() && jailIsFresh())
}

/** Whether the addon that is there can be loaded: a prebuilt one may want a newer C library than this system has. */
export function addonLoads() {
  const addon = findAddon()
  if (!addon) return false
  return (
    spawnSync(process.execPath, ['-e', 'require(process.argv[1])', addon], { stdio: 'ignore' })
      .status === 0
  )
}

function newestSource() {
  const native = join(packageRoot, 'native')
  const files = readdirSync(native, { recursive: true })
    .map(String)
    // Programs of their own, no part of the addon.
    .filter((name) => !name.startsWith('guest-agent') && !name.startsWith('jail/'))
    .map((name) => join(native, name))
  return Math.max(
    ...[join(packageRoot, 'binding.gyp'), ...files].map((file) => statSync(file).mtimeMs),
  )
}

/** The Debian packages to install before `buildAddon` can work; empty if none. */
export function missingBuildTools() {
  const tools = { make: 'make', 'g++': 'g++', python3: 'python3' }
  const overridden = { 'g++': 'CXX', python3: 'PYTHON' }
  return Object.keys(tools)
    .filter((tool) => !process.env[overridden[tool] ?? ''])
    .filter((tool) => spawnSync(tool, ['--version'], { stdio: 'ignore' }).error)
    .map((tool) => tools[tool])
}

/**
 * Builds the addon into build/Release unless it is there and fresh.
 * A second build at the same time, in whatever process, waits for the first.
 *
 * @param {{ quiet?: boolean, force?: boolean }} [options] `quiet` shows the compiler's output only if it fails
 * @returns {Promise<boolean>} whether anything had to be built
 * @throws Error naming what is missing, or with the end of the output in its message
 */
export async function buildAddon({ quiet = false, force = false } = {}) {
  if (!force && addonIsFresh()) return false
  const missing = missingBuildTools()
  if (missing.length > 0)
    throw new Error(
      `building the native addon needs ${missing.join(', ')}: apt-get install ${missing.join(' ')}`,
    )
  const unlock = await lock(join(packageRoot, 'build'))
  try {
    if (!force && addonIsFresh()) return false
    const [node, ...args] = nodeGypCommand()
    // Only what has changed is compiled again; a first build or a changed binding.gyp needs the Makefiles.
    await run(node, [...args, 'configure', 'build', ...nodeGypOptions()], quiet)
    await buildJail(JAIL, quiet)
    return true
  } finally {
    unlock()
  }
}

const JAIL = join(packageRoot, 'build/Release/node-kvm-jail')

function jailSources() {
  const folder = join(packageRoot, 'native/jail')
  return readdirSync(folder).map((name) => join(folder, name))
}

function jailIsFresh() {
  const newest = Math.max(...jailSources().map((file) => statSync(file).mtimeMs))
  return existsSync(JAIL) && statSync(JAIL).mtimeMs >= newest
}

/** Compiles the launcher `node-kvm-jail`: static, so that it needs nothing of the system that it shuts out. */
export async function buildJail(target, quiet) {
  mkdirSync(dirname(target), { recursive: true })
  const sources = jailSources().filter((name) => name.endsWith('.c'))
  const flags = [
    '-std=gnu17',
    '-D_GNU_SOURCE',
    '-O2',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-static',
    '-s',
  ]
  await run(process.env.CC ?? 'gcc', [...flags, '-o', target, ...sources], quiet)
}

/** node-gyp: the one beside us in a checkout, else the one that npm brings along. */
export function nodeGypCommand() {
  const candidates = [
    () => require.resolve('node-gyp/bin/node-gyp.js'),
    () => process.env.npm_config_node_gyp,
    () =>
      process.env.npm_execpath &&
      join(dirname(process.env.npm_execpath), '../node_modules/node-gyp/bin/node-gyp.js'),
    () =>
      join(
        dirname(process.execPath),
        '../lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js',
      ),
  ]
  for (const candidate of candidates) {
    try {
      const path = candidate()
      if (path && existsSync(path)) return [process.execPath, path]
    } catch {
      // Not installed: the next one.
    }
  }
  throw new Error('node-gyp was not found, neither beside node-kvm nor in npm')
}

/** Node's headers lie beside the `node` that runs, if its package brought them; node-gyp downloads them otherwise. */
export function nodeGypOptions() {
  const options = ['--release', `--jobs=${availableParallelism()}`]
  const prefix = dirname(dirname(process.execPath))
  if (existsSync(join(prefix, 'include/node/node_api.h'))) options.push(`--nodedir=${prefix}`)
  return options
}

function run(command, args, quiet) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: packageRoot,
      stdio: quiet ? ['ignore', 'pipe', 'pipe'] : ['ignore', 'inherit', 'inherit'],
    })
    let output = ''
    const keep = (chunk) => {
      output = (output + chunk).slice(-8192)
    }
    child.stdout?.on('data', keep)
    child.stderr?.on('data', keep)
    child.on('error', reject)
    child.on('close', (status, signal) => {
      if (status === 0) resolve()
      else
        reject(
          new Error(
            `node-gyp failed (${signal ?? `status ${status}`})${output ? `:\n${output.trimEnd()}` : ''}`,
          ),
        )
    })
  })
}

/** A lock file that holds its owner's pid, so that one left by a killed process is recognised. */
async function lock(directory) {
  mkdirSync(directory, { recursive: true })
  const path = join(directory, '.lock')
  for (;;) {
    try {
      const fd = openSync(path, 'wx')
      writeSync(fd, String(process.pid))
      closeSync(fd)
      return () => rmSync(path, { force: true })
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    if (!ownerIsAlive(path)) rmSync(path, { force: true })
    else await new Promise((resolve) => setTimeout(resolve, 200))
  }
}

function ownerIsAlive(path) {
  try {
    const owner = Number(readFileSync(path, 'utf8'))
    // Created, but the pid is not written yet.
    if (owner === 0) return Date.now() - statSync(path).mtimeMs < 5000
    process.kill(owner, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}
