// npm run build:asan, build:tsan: the addon compiled with sanitizers, into build-asan/ or build-tsan/.
// Usage: node scripts/build-sanitized.mjs asan|tsan
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { nodeGypCommand, nodeGypOptions, packageRoot } from './lib/build-addon.mjs'

const SANITIZERS = { asan: 'address,undefined', tsan: 'thread' }

const [name] = process.argv.slice(2)
const sanitizers = SANITIZERS[name]
if (!sanitizers) {
  console.error(`usage: node scripts/build-sanitized.mjs ${Object.keys(SANITIZERS).join('|')}`)
  process.exit(2)
}

// node-gyp builds in the folder that binding.gyp is in.
const folder = join(packageRoot, `build-${name}`)
mkdirSync(folder, { recursive: true })
for (const entry of ['binding.gyp', 'native']) {
  const link = join(folder, entry)
  if (!existsSync(link)) symlinkSync(join('..', entry), link)
}

const [node, ...args] = nodeGypCommand()
const options = [...nodeGypOptions(), `--directory=${folder}`, `--sanitize=${sanitizers}`]
const { status } = spawnSync(node, [...args, 'configure', 'build', ...options], {
  cwd: packageRoot,
  stdio: 'inherit',
})
process.exitCode = status ?? 1
