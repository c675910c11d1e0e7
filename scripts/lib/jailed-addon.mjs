// Loaded into each Node of a run with an addon of another build, with sanitizers or counters of lines: a Node in a jail
// may open little, and a machine's process is started with nothing of this one's environment, so what that addon needs
// is given to them here.
import childProcess from 'node:child_process'
import { syncBuiltinESMExports } from 'node:module'

const flags = JSON.parse(process.env.NODE_KVM_JAILED_FLAGS)
const names = JSON.parse(process.env.NODE_KVM_JAILED_ENV)
const given = Object.fromEntries(names.map((name) => [name, process.env[name]]))

const startsNode = (command, args) =>
  /\/node-kvm-jail$/.test(command) && args[args.indexOf('--') + 1] === process.execPath

/** Programs that are not ours, and do not start with a sanitizer's library in them. */
const FOREIGN = /(^|\/)passt$/

for (const name of ['spawn', 'spawnSync']) {
  const start = childProcess[name]
  childProcess[name] = (command, args, options) => {
    if (FOREIGN.test(command)) {
      return start(command, args, { ...options, env: { ...process.env, LD_PRELOAD: '' } })
    }
    if (!Array.isArray(args) || !startsNode(command, args)) return start(command, args, options)
    const env = { ...given, ...(options?.env ?? process.env) }
    return start(command, [...flags, ...args], { ...options, env })
  }
}
syncBuiltinESMExports()
