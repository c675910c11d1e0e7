// Makes the code cache of the program beside this file, for the Node that runs this: when the package is bundled, and
// when it is installed.
import { join } from 'node:path'
import { compileProgram } from './compiled-program.js'

/** As in main.ts. */
declare const PROGRAM: string

const file = join(__dirname, PROGRAM)
// As far as a run goes without a kernel. What it compiles on the way is kept; so nothing is that a run does not use.
compileProgram(file, require, ['run', '--emulate=never', '--kernel', join(file, 'none')])
