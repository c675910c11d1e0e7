import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { Script } from 'node:vm'
import { lateModules } from './late-modules.js'

/** What the file of a program is: one function, with what a module of CommonJS is given. */
type Program = (require: NodeJS.Require, filename: string) => void

/**
 * Where the code cache of a program is: beside it, as V8 trusts it like the program itself, so that whoever may write the
 * one should be able to write the other. V8 compares no more of the program than its length: its file's name is to
 * change with its contents.
 */
export function codeCache(file: string): string {
  return `${file}.${process.versions.v8}.cache`
}

/**
 * Runs a program. Compiling one of a megabyte takes longer than all that it does before a guest runs: V8 takes that from
 * {@link codeCache} where this version of it, with these flags, has made that, and else compiles.
 * @param file its path
 */
export function runProgram(file: string, require: NodeJS.Require): void {
  start(load(file, readCache(file)), file, require)
}

/**
 * Runs a program, and keeps what was compiled of it until its process ends.
 * @param args of the program's command line
 */
export function compileProgram(
  file: string,
  require: NodeJS.Require,
  args: readonly string[],
): void {
  const script = load(file)
  process.on('exit', () => {
    const cache = codeCache(file)
    // Half a file is refused, but a new one under the other's feet is not.
    const unfinished = `${cache}.${process.pid}`
    writeFileSync(unfinished, script.createCachedData())
    renameSync(unfinished, cache)
  })
  process.argv.splice(2, Number.POSITIVE_INFINITY, ...args)
  start(script, file, require)
}

function load(filename: string, cachedData?: Buffer): Script {
  // Bundles are ASCII, and V8 keeps a character of this encoding in a byte.
  return new Script(readFileSync(filename, 'latin1'), {
    filename,
    ...(cachedData && { cachedData }),
  })
}

function start(script: Script, file: string, require: NodeJS.Require): void {
  const program = script.runInThisContext() as Program
  program(lateModules(require), file)
}

function readCache(file: string): Buffer | undefined {
  try {
    return readFileSync(codeCache(file))
  } catch {
    return undefined
  }
}
