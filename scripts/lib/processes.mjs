// What the processes of a group are doing, for the log of a run that did not end by itself.
import { readdirSync, readFileSync } from 'node:fs'

/** @param {number} group the process group's id */
export function describeGroup(group) {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && groupOf(name) === group)
    .map(describe)
    .join('\n')
}

function groupOf(pid) {
  // After the name in parentheses, which may hold anything: state, parent, group.
  const fields = read(`/proc/${pid}/stat`).split(') ').at(-1).split(' ')
  return Number(fields[2])
}

function describe(pid) {
  const command = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').slice(0, 160)
  const threads = list(`/proc/${pid}/task`).map((id) => {
    const path = `/proc/${pid}/task/${id}`
    const state = read(`${path}/stat`).split(') ').at(-1)[0]
    const call = read(`${path}/syscall`).split(' ')[0]
    const frames = [...read(`${path}/stack`).matchAll(/([\w.]+)\+0x/g)].slice(0, 5)
    const stack = frames.map(([, name]) => name).join(' ')
    return `  ${id} ${read(`${path}/comm`).trim()}: ${state}, system call ${call}, ${stack}`
  })
  return [`${pid} ${command}`, ...threads].join('\n')
}

function list(path) {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

/** Empty where it is gone or may not be read. */
function read(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
