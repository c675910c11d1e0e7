#!/usr/bin/env node
// Starts the program beside this file, and loads nothing that this does not take.
import { join } from 'node:path'
import { runProgram } from './compiled-program.js'

/** The program's file name; scripts/bundle.mjs puts it in. */
declare const PROGRAM: string

runProgram(join(__dirname, PROGRAM), require)
