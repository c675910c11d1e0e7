// Loaded into each Node of a run with a sanitizer: a machine's process is started with nothing of this one's
// environment and may open little, so what the sanitizer needs is given to it here.
import childProcess from 'node:child_process'
import { syncBuiltinESMExports } from 'node:module'

const { spawn } = childProcess
const { NODE_KVM_JAILED_FLAGS: flags, NODE_KVM_JAILED_ENV: names } = process.env
const MACHINE = /\/isolated-machine\/main\.js$/

childProcess.spawn = (command, args, options) => {
  if (!Array.isArray(args) || !MACHINE.test(args.at(-1))) return spawn(command, args, options)
  const given = JSON.parse(names).map((name) => [name, process.env[name]])
  const env = { ...Object.fromEntries(given), ...options.env }
  return spawn(command, [...JSON.parse(flags), ...args], { ...options, env })
}
syncBuiltinESMExports()
