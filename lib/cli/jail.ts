#!/usr/bin/env node
// The launcher's own program, for `npx`: it takes the same options, says the same, and ends the same.
import { spawn } from 'node:child_process'
import { jailProgram } from '../index.js'

const child = spawn(jailProgram(), process.argv.slice(2), { stdio: 'inherit' })
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
for (const signal of signals) process.on(signal, () => child.kill(signal))
child.on('exit', (status, signal) => {
  for (const each of signals) process.removeAllListeners(each)
  if (signal) process.kill(process.pid, signal)
  else process.exitCode = status ?? 1
})
