// The published form of the library: the entry points and the CLI, each with what they share in a few chunks in
// dist/bundle/. Opening and linking the two hundred modules of dist/lib/ is most of a program's start otherwise.
// Classes and module state stay one across the entry points, as every module is in exactly one chunk. The CLI shares
// nothing with them: it is one script, of which V8 can keep what it has compiled, as it cannot of modules.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { packageRoot } from './lib/build-addon.mjs'

const ENTRY_POINTS = [
  'index',
  'kvm',
  'devices',
  'rootfs',
  'testing',
  'vitest',
  'cli/jail',
  'isolated-machine/main',
]
const outdir = join(packageRoot, 'dist/bundle')

/** Packages whose code is in the output, whose licences ask for their notices to go with it. */
function notices(metafiles) {
  const packages = metafiles
    .flatMap(({ inputs }) => Object.keys(inputs))
    .flatMap((path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? [])
  return [...new Set(packages)].sort().map((name) => {
    const folder = join(packageRoot, 'node_modules', name)
    const file = ['LICENSE', 'LICENSE.md', 'LICENCE', 'license'].find((candidate) =>
      existsSync(join(folder, candidate)),
    )
    if (file === undefined) throw new Error(`${name} has no licence file to pass on`)
    return `${name}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`
  })
}

const COMMON = {
  absWorkingDir: packageRoot,
  outbase: 'lib',
  outdir,
  bundle: true,
  platform: 'node',
  target: 'node20',
  // The first is loaded by require(); the second has no licence file to pass on, and only guest assets need it.
  external: ['node-gyp-build', 'xz-decompress'],
  metafile: true,
  logLevel: 'error',
}

/** What is imported. */
async function bundleModules() {
  const { metafile } = await build({
    ...COMMON,
    entryPoints: ENTRY_POINTS.map((name) => `lib/${name}.ts`),
    splitting: true,
    format: 'esm',
    sourcemap: true,
    sourcesContent: false,
    chunkNames: 'chunks/[name]-[hash]',
    // For the CommonJS packages among what is bundled.
    banner: {
      js: "import { createRequire as createRequire$ } from 'node:module'; const require = createRequire$(import.meta.url);",
    },
  })
  return metafile
}

/** The CLI: a script that is one function (lib/cli/compiled-program.ts), what starts it, and what compiles it. */
async function bundleCli() {
  const script = { ...COMMON, format: 'cjs', outExtension: { '.js': '.cjs' } }
  const { metafile } = await build({
    ...script,
    entryPoints: ['lib/cli/program.ts'],
    entryNames: '[dir]/[name]-[hash]',
    // Scripts have neither of the two.
    supported: { 'dynamic-import': false },
    define: { 'import.meta.url': 'moduleUrl$' },
    banner: {
      js: "(function (require, filename$) { 'use strict'; const moduleUrl$ = require('node:url').pathToFileURL(filename$).href;",
    },
    footer: { js: '})' },
  })
  await build({
    ...script,
    entryPoints: ['lib/cli/main.ts', 'lib/cli/compile.ts'],
    define: { PROGRAM: JSON.stringify(basename(Object.keys(metafile.outputs)[0])) },
  })
  const { stderr } = spawnSync(process.execPath, [join(outdir, 'cli/compile.cjs')])
  if (!readdirSync(join(outdir, 'cli')).some((name) => name.endsWith('.cache'))) {
    throw new Error(`cli/compile.cjs has made nothing: ${stderr}`)
  }
  return metafile
}

/** @throws Error listing what does not compile */
export async function bundle() {
  rmSync(outdir, { recursive: true, force: true })
  const metafiles = [await bundleModules(), await bundleCli()]
  writeFileSync(join(outdir, 'LICENSES.txt'), notices(metafiles).join('\n---\n\n'))
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await bundle()
