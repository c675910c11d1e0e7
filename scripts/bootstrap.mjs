// Makes a checkout ready: Debian packages, the addon, the compiled TypeScript. What is there already costs nothing.
import ora from 'ora'
import { addonIsFresh, addonLoads, buildAddon, platformSupported } from './lib/build-addon.mjs'
import {
  canInstall,
  installLine,
  installPackages,
  missingPackages,
} from './lib/debian-packages.mjs'
import { buildTypescript, typescriptIsFresh } from './lib/typescript.mjs'

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
  if (!typescriptIsFresh()) await step('Compiling TypeScript', async () => buildTypescript())
}

async function provide(packages, install) {
  if (!install || !canInstall()) {
    throw new BootstrapError(
      `these Debian packages are missing: ${packages.join(', ')}\nInstall them with: sudo ${installLine(packages)}`,
    )
  }
  await step(`Installing Debian packages: ${packages.join(', ')}`, () => installPackages(packages))
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
