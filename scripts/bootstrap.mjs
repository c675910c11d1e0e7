// Makes a checkout ready: Debian packages, the addon, the compiled TypeScript. What is there already costs nothing.
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import ora from 'ora'
import {
  addonIsFresh,
  addonLoads,
  buildAddon,
  packageRoot,
  platformSupported,
} from './lib/build-addon.mjs'
import {
  canInstall,
  installLine,
  installPackages,
  missingPackages,
} from './lib/debian-packages.mjs'

/** What ends a script with a message and no stack. */
export class BootstrapError extends Error {}

/** Shows one long step; on no terminal, a line when it begins. */
export async function step(text, work) {
  const spinner = ora({ text, stream: process.stderr }).start()
  try {
    const result = await work((detail) => {
      spinner.text = `${text}: ${detail}`
    })
    spinner.succeed(text)
    return result
  } catch (error) {
    spinner.fail(text)
    throw error
  }
}

/**
 * @param {{ programs?: string[], install?: boolean }} options
 *   `programs` that the caller will run; `install`: whether apt-get may be used
 * @throws BootstrapError naming what is missing and the line that installs it
 */
export async function bootstrap({ programs = [], install = true } = {}) {
  if (!platformSupported) {
    throw new BootstrapError(
      `node-kvm runs on Linux on x86-64, this is ${process.platform} on ${process.arch}`,
    )
  }
  const addonReady = addonIsFresh() && addonLoads()
  const missing = missingPackages({ compiler: !addonReady, programs })
  if (missing.length > 0) await provide(missing, install)
  if (!addonReady)
    await step('Building the native addon', () =>
      buildAddon({ quiet: true, force: addonIsFresh() }),
    )
  if (!compiledIsFresh()) await step('Compiling TypeScript', compile)
}

async function provide(packages, install) {
  if (!install || !canInstall()) {
    throw new BootstrapError(
      `these Debian packages are missing: ${packages.join(', ')}\nInstall them with: sudo ${installLine(packages)}`,
    )
  }
  await step(`Installing Debian packages: ${packages.join(', ')}`, () => installPackages(packages))
}

const SOURCES = ['lib', 'examples', 'bench']
/** Written by the compiler last, as it has no importers. */
const STAMP = join(packageRoot, 'dist/.stamp')

function compiledIsFresh() {
  if (!existsSync(STAMP)) return false
  const compiled = statSync(STAMP).mtimeMs
  return [join(packageRoot, 'tsconfig.json'), ...SOURCES.flatMap(sources)].every(
    (path) => statSync(path).mtimeMs <= compiled,
  )
}

function sources(directory) {
  const root = join(packageRoot, directory)
  if (!existsSync(root)) return []
  return [root, ...readdirSync(root, { recursive: true }).map((name) => join(root, String(name)))]
}

async function compile() {
  const { writeFileSync } = await import('node:fs')
  const started = new Date()
  await runQuietly(process.execPath, [
    join(packageRoot, 'node_modules/typescript/bin/tsc'),
    '-p',
    join(packageRoot, 'tsconfig.json'),
  ])
  writeFileSync(STAMP, `${started.toISOString()}\n`)
}

function runQuietly(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    child.stdout.on('data', (data) => (output += data))
    child.stderr.on('data', (data) => (output += data))
    child.on('error', reject)
    child.on('close', (status) =>
      status === 0 ? resolve() : reject(new BootstrapError(output.trimEnd())),
    )
  })
}

/** Runs a script's main function; what it throws becomes one message and status 1. */
export async function main(run) {
  try {
    process.exitCode = (await run()) ?? 0
  } catch (error) {
    process.stderr.write(`${process.env.NODE_KVM_DEBUG ? error.stack : error.message}\n`)
    process.exitCode = 1
  }
}
