import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { VmmError } from '../errors.js'
import { packageRoot } from '../util/package-root.js'
import { type AssetOptions, cachedFolder } from './cache.js'
import { readVerified } from './manifest.js'
import { runProgram } from './program.js'

/** Where the package has one that is built already: `npm pack` puts it there. */
export const PREBUILT_AGENT = 'prebuilds/linux-x64/node-kvm-agent'

// Without a C library, so that it is small (13 KB; 800 with glibc), runs on any kernel in any distribution, and is
// built by any compiler, also where there is no static libc.
const FLAGS = [
  ...['-std=gnu11', '-Os', '-static', '-nostdlib', '-ffreestanding', '-fno-pie', '-no-pie'],
  ...['-fno-stack-protector', '-fno-asynchronous-unwind-tables', '-fcf-protection=none'],
  ...['-mno-sse', '-Wall', '-Wextra', '-Werror'],
  '-Wl,--build-id=none,-z,noexecstack,--gc-sections,-s',
]

/**
 * The program that runs in guests for {@link GuestAgent}: static, for any Linux on x86-64. In a checkout it is compiled
 * on first use; an installed package has it.
 * @throws VmmError `ERR_ASSET` if it does not compile, `ERR_MISSING_PROGRAM` if that needs a compiler that is missing
 */
export async function guestAgentAsset(options: AssetOptions = {}): Promise<Uint8Array> {
  const prebuilt = join(packageRoot(), PREBUILT_AGENT)
  const isCheckout = existsSync(join(packageRoot(), 'tsconfig.json'))
  return !isCheckout && existsSync(prebuilt) ? await readFile(prebuilt) : await compile(options)
}

async function compile({ report = () => {} }: AssetOptions): Promise<Uint8Array> {
  const folder = join(packageRoot(), 'native/guest-agent')
  const names = (await readdir(folder).catch(() => [])).filter((name) => /\.[ch]$/.test(name))
  if (names.length === 0) throw new VmmError('ERR_ASSET', `${folder} has no sources of the agent`)
  const hash = createHash('sha256').update(FLAGS.join(' '))
  for (const name of names.sort()) hash.update(name).update(await readFile(join(folder, name)))
  const build = async (directory: string) => {
    report('compiling the guest agent')
    const sources = names.filter((name) => name.endsWith('.c')).map((name) => join(folder, name))
    const compiler = process.env.CC || 'cc'
    await runProgram(compiler, [...FLAGS, '-o', join(directory, 'agent'), ...sources])
    return { compiler }
  }
  const name = `agent/${hash.digest('hex').slice(0, 16)}`
  const made = await cachedFolder(name, build, { report, verify: () => ['agent'] })
  return readVerified(made, 'agent')
}
