import { readdirSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { ANSWER_MAX, type Answer, type MachineStatus, type Request, readLine } from './protocol.js'
import { machineOf, openRuntimeDirectory, socketPath } from './runtime-directory.js'

/** Milliseconds in which a machine answers what takes it no time. */
const ANSWER_TIMEOUT = 5000

/** Whether somebody listens there. */
export async function isAlive(path: string): Promise<boolean> {
  try {
    const socket = await open(path)
    socket.destroy()
    return true
  } catch {
    return false
  }
}

/**
 * Asks a machine, and gives the connection after its answer.
 * @throws Error if no machine of that name runs, or it refuses
 */
export async function ask(
  name: string,
  request: Request,
  timeout = ANSWER_TIMEOUT,
): Promise<{ result: unknown; socket: Socket }> {
  const path = socketPath(openRuntimeDirectory(), name)
  const socket = await open(path).catch(() => {
    throw new Error(`no machine called ${name} is running`)
  })
  try {
    socket.write(`${JSON.stringify(request)}\n`)
    const answer = JSON.parse(await readLine(socket, ANSWER_MAX, timeout)) as Answer
    if ('error' in answer) throw new Error(`${name}: ${answer.error}`)
    return { result: answer.result, socket }
  } catch (error) {
    socket.destroy()
    throw error
  }
}

/** {@link ask} for an answer alone. */
export async function askOnce(name: string, request: Request, timeout?: number): Promise<unknown> {
  const { result, socket } = await ask(name, request, timeout)
  socket.destroy()
  return result
}

/** Every machine of this user's that `node-kvm run` runs. Sockets that nobody listens on are removed. */
export async function runningMachines(): Promise<MachineStatus[]> {
  const directory = openRuntimeDirectory()
  const names = readdirSync(directory).flatMap((file) => machineOf(file) ?? [])
  const asked = names.sort().map(async (name) => {
    const path = socketPath(directory, name)
    if (!(await isAlive(path))) {
      rmSync(join(path), { force: true })
      return undefined
    }
    return (await askOnce(name, { method: 'status' }).catch(() => undefined)) as MachineStatus
  })
  return (await Promise.all(asked)).filter((status) => status !== undefined)
}

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      socket.on('error', () => socket.destroy())
      resolve(socket)
    })
  })
}
