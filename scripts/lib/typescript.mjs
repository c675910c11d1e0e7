// The compiled library in dist/, compiled when it is not there or older than its sources.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { isCheckout, packageRoot } from './build-addon.mjs'

/** Touched before each compilation: what is newer has not been compiled. */
const stamp = join(packageRoot, 'dist/.compiled')

/** What tsconfig.json includes. */
const SOURCES = ['lib', 'examples', 'bench']

/** Whether dist/ is there and no older than its sources. */
export function typescriptIsFresh() {
  if (!existsSync(stamp)) return false
  const compiled = statSync(stamp).mtimeMs
  const sources = ['tsconfig.json', 'scripts/bundle.mjs', ...SOURCES.flatMap(below)]
  return sources.every((name) => statSync(join(packageRoot, name)).mtimeMs <= compiled)
}

/** A folder and all that is in it; a deleted file makes its folder newer. */
function below(folder) {
  const path = join(packageRoot, folder)
  if (!existsSync(path)) return []
  return [
    folder,
    ...readdirSync(path, { recursive: true }).map((name) => join(folder, String(name))),
  ]
}

/**
 * Compiles the sources into dist/ unless that is fresh.
 * @returns {boolean} whether anything had to be done
 * @throws Error if there is no compiler
 */
export function buildTypescript() {
  if (!isCheckout || typescriptIsFresh()) return false
  const begun = new Date()
  const tsc = join(packageRoot, 'node_modules/.bin/tsc')
  const { status, stdout, error } = spawnSync(tsc, ['-p', 'tsconfig.json'], {
    cwd: packageRoot,
    encoding: 'utf8',
  })
  if (error)
    throw new Error(`the TypeScript compiler could not be run: ${error.message}; run npm ci`)
  // The compiler writes JavaScript all the same; types are the business of `npm run lint:types`.
  if (status !== 0) console.error(stdout.trimEnd())
  const bundled = spawnSync(process.execPath, [join(packageRoot, 'scripts/bundle.mjs')], {
    encoding: 'utf8',
  })
  if (bundled.status !== 0) throw new Error(`the library could not be bundled: ${bundled.stderr}`)
  mkdirSync(join(packageRoot, 'dist'), { recursive: true })
  writeFileSync(stamp, '')
  utimesSync(stamp, begun, begun)
  return true
}

/** A public entry point of the compiled library: 'index', 'kvm', 'devices' or 'testing'. */
export async function library(entry, report = () => {}) {
  if (isCheckout && !typescriptIsFresh()) {
    report('compiling TypeScript')
    buildTypescript()
  }
  return import(pathToFileURL(join(packageRoot, `dist/lib/${entry}.js`)).href)
}
