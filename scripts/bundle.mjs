// The published form of the library: the entry points and the CLI, each with what they share in a few chunks in
// dist/bundle/. Opening and linking the two hundred modules of dist/lib/ is most of a program's start otherwise.
// Classes and module state stay one across the entry points, as every module is in exactly one chunk.
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
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
  'cli/main',
  'cli/jail',
  'isolated-machine/main',
]
const outdir = join(packageRoot, 'dist/bundle')

/** Packages whose code is in the output, whose licences ask for their notices to go with it. */
function notices(metafile) {
  const packages = Object.keys(metafile.inputs).flatMap(
    (path) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? [],
  )
  return [...new Set(packages)].sort().map((name) => {
    const folder = join(packageRoot, 'node_modules', name)
    const file = ['LICENSE', 'LICENSE.md', 'LICENCE', 'license'].find((candidate) =>
      existsSync(join(folder, candidate)),
    )
    if (file === undefined) throw new Error(`${name} has no licence file to pass on`)
    return `${name}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`
  })
}

/** @throws Error listing what does not compile */
export async function bundle() {
  rmSync(outdir, { recursive: true, force: true })
  const { metafile } = await build({
    absWorkingDir: packageRoot,
    entryPoints: ENTRY_POINTS.map((name) => `lib/${name}.ts`),
    outbase: 'lib',
    outdir,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    // The first is loaded by require(); the second has no licence file to pass on, and only guest assets need it.
    external: ['node-gyp-build', 'xz-decompress'],
    sourcemap: true,
    sourcesContent: false,
    metafile: true,
    chunkNames: 'chunks/[name]-[hash]',
    // For the CommonJS packages among what is bundled.
    banner: {
      js: "import { createRequire as createRequire$ } from 'node:module'; const require = createRequire$(import.meta.url);",
    },
    logLevel: 'error',
  })
  writeFileSync(join(outdir, 'LICENSES.txt'), notices(metafile).join('\n---\n\n'))
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) await bundle()
