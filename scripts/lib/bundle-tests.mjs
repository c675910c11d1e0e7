// Programs of test/ as JavaScript that Node runs, for what is started outside of the test runner.
import { mkdirSync, renameSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { build } from 'esbuild'
import { packageRoot } from './build-addon.mjs'

/** Leaves the library out: it is the compiled one in dist/. */
const compiledLibrary = {
  name: 'compiled library',
  setup({ onResolve }) {
    onResolve({ filter: /^(\.\.\/)+lib\// }, ({ path }) => ({
      path: join(packageRoot, 'dist', path.replace(/^(\.\.\/)+/, '')),
      external: true,
    }))
  },
}

/**
 * Bundles each of `files`, paths in test/, into `folder`, a path in the package.
 * @param {{ folder: string, files: string[], withLibrary?: boolean, plugins?: import('esbuild').Plugin[] }} options
 *   `withLibrary`: the library's sources are bundled too, through `plugins`, and not taken from dist/
 * @returns {Promise<string[]>} the paths of what was made
 */
export async function bundleTests({ folder, files, withLibrary = false, plugins = [] }) {
  const outdir = join(packageRoot, folder)
  const { outputFiles } = await build({
    write: false,
    entryPoints: files.map((file) => join(packageRoot, 'test', file)),
    outdir,
    entryNames: '[name]',
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    plugins: withLibrary ? plugins : [compiledLibrary],
  })
  mkdirSync(outdir, { recursive: true })
  for (const { path, contents } of outputFiles) {
    // Another run of the tests may be starting what is there.
    const temporary = `${path}.${process.pid}`
    writeFileSync(temporary, contents)
    renameSync(temporary, path)
  }
  return files.map((file) => join(outdir, `${basename(file, '.ts')}.mjs`))
}
