// npm run prebuildify: the addons that the package ships, prebuilds/linux-x64/*.node.
//
// With g++ there is one for glibc, as new as this system's at least. With ZIG=/path/to/zig in the environment (a
// cross-compiler that brings both C libraries and a C++ library along) there is one for glibc 2.28, the oldest that
// Node 20 runs on, and one for musl: Debian's musl-tools compile C only, as it has no C++ library for musl.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { buildJail, nodeGypCommand, packageRoot, platformSupported } from './lib/build-addon.mjs'

const prebuildify = createRequire(import.meta.url)('prebuildify')

// Inside the package, so that node_modules are found, and prebuildify's rename stays on one file system.
const work = join(packageRoot, 'build-prebuild')
const zig = process.env.ZIG

const variants = zig
  ? [
      { libc: 'glibc', target: 'x86_64-linux-gnu.2.28' },
      { libc: 'musl', target: 'x86_64-linux-musl' },
    ]
  : [{ libc: 'glibc' }]

/** A program to name in CXX: node-gyp's Makefiles take a command, but CMake and others a single word. */
function script(name, line) {
  const path = join(work, name)
  writeFileSync(path, `#!/bin/sh\n${line} "$@"\n`)
  chmodSync(path, 0o755)
  return path
}

function toolchain({ target }) {
  if (!target) return {}
  const compat = join(packageRoot, 'scripts/prebuild/compat.h')
  return {
    CC: script('cc', `exec '${zig}' cc -target ${target}`),
    CXX: script('c++', `exec '${zig}' c++ -target ${target} -include '${compat}'`),
    // Names that Node provides are not there when linking.
    LDFLAGS: '-Wl,--allow-shlib-undefined',
  }
}

async function build(variant) {
  for (const name of ['native', 'binding.gyp', 'package.json']) {
    cpSync(join(packageRoot, name), join(work, name), { recursive: true })
  }
  const prefix = dirname(dirname(process.execPath))
  const headers = existsSync(join(prefix, 'include/node/node_api.h'))
    ? { npm_config_nodedir: prefix }
    : {}
  const [node, nodeGyp] = nodeGypCommand()
  Object.assign(process.env, headers, toolchain(variant))
  await new Promise((resolve, reject) => {
    prebuildify(
      {
        cwd: work,
        out: work,
        nodeGyp: script('node-gyp', `exec '${node}' '${nodeGyp}'`),
        targets: [process.versions.node],
        napi: true,
        strip: true,
        tagLibc: variant.libc,
        quiet: !process.argv.includes('--verbose'),
      },
      (error) => (error ? reject(error) : resolve()),
    )
  })
  const name = `${JSON.parse(readFileSync(join(packageRoot, 'package.json'), 'utf8')).name}.${variant.libc}.node`
  const target = join(packageRoot, 'prebuilds/linux-x64')
  mkdirSync(target, { recursive: true })
  renameSync(join(work, 'prebuilds/linux-x64', name), join(target, name))
  if (variant.libc === 'glibc') checkSymbols(join(target, name))
  // Static: one for every C library.
  if (variant === variants.at(-1)) await buildJail(join(target, 'node-kvm-jail'), true)
  console.log(`prebuilds/linux-x64/${name}${variant.target ? ` (${variant.target})` : ''}`)
}

/** Loads it with every symbol looked up at once: linking alone does not tell that one is nowhere. */
function checkSymbols(file) {
  const { status } = spawnSync(process.execPath, ['-e', 'require(process.argv[1])', file], {
    env: { ...process.env, LD_BIND_NOW: '1' },
    stdio: 'inherit',
  })
  if (status !== 0) throw new Error(`${file} does not load`)
}

if (!platformSupported) {
  console.error('prebuilds are for Linux on x86-64, and made there')
  process.exit(1)
}
rmSync(work, { recursive: true, force: true })
mkdirSync(work)
try {
  rmSync(join(packageRoot, 'prebuilds'), { recursive: true, force: true })
  for (const variant of variants) await build(variant)
} finally {
  rmSync(work, { recursive: true, force: true })
}
