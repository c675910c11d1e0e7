// Before npm packs: the prebuilt addons and guest agent, and nothing in dist that has lost its source.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from './lib/build-addon.mjs'

const dist = join(packageRoot, 'dist/lib')
for (const name of existsSync(dist) ? readdirSync(dist, { recursive: true }).map(String) : []) {
  const path = join(dist, name)
  const source = join(packageRoot, 'lib', name.replace(/(\.d\.ts|\.js)(\.map)?$/, '.ts'))
  if (statSync(path).isFile() && !existsSync(source)) rmSync(path)
}

// The addons first: prebuildify begins with an empty folder.
for (const script of ['prebuildify', 'build-agent']) {
  const { status } = spawnSync(process.execPath, [join(packageRoot, `scripts/${script}.mjs`)], {
    // npm takes what a script prints to standard output for its own when asked for JSON.
    stdio: ['ignore', 2, 2],
  })
  process.exitCode ||= status ?? 1
}
