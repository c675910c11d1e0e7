// Makes the code cache of the program beside this file, for the Node that runs this: when the package is bundled, and
// when it is installed.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compileProgram } from './compiled-program.js'
import { sampleGuest } from './sample-guest.js'

/** As in main.ts. */
declare const PROGRAM: string

// A whole run, or as much of one as there can be without /dev/kvm. What it compiles on the way is kept; so nothing is that
// a run does not use.
const folder = mkdtempSync(join(tmpdir(), 'node-kvm-compile-'))
process.on('exit', () => rmSync(folder, { recursive: true, force: true }))
const kernel = join(folder, 'kernel')
writeFileSync(kernel, sampleGuest())
// The machine is no other program's business.
process.env.XDG_RUNTIME_DIR = folder
compileProgram(join(__dirname, PROGRAM), require, [
  ...['run', '--emulate=never', '--timeout=10'],
  ...['--kernel', kernel, '--initrd', kernel],
])
