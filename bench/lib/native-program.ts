import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cachedFolder } from '../../lib/assets/cache.js'
import { runProgram } from '../../lib/assets/program.js'

const FLAGS = ['-O2', '-D_GNU_SOURCE', '-Wall', '-Wextra']

/**
 * The path of `bench/native/NAME.c`, compiled.
 * @param flags more for the compiler: `-static` for a guest
 */
export async function nativeProgram(name: string, flags: readonly string[] = []): Promise<string> {
  // From dist/bench/lib as from bench/lib.
  const source = [`../native/${name}.c`, `../../../bench/native/${name}.c`]
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(path))!
  const all = [...FLAGS, ...flags]
  const key = createHash('sha256').update(JSON.stringify(all)).update(readFileSync(source))
  const build = async (directory: string) => {
    await runProgram('cc', [...all, '-o', join(directory, name), source])
    return { source }
  }
  const folder = `bench/${name}-${key.digest('hex').slice(0, 16)}`
  const { path } = await cachedFolder(folder, build, { verify: () => [name] })
  return join(path, name)
}
