import { type ChildProcess, spawn } from 'node:child_process'
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Duplex } from 'node:stream'
import { AgentLink } from '../../lib/agent/agent-link.js'
import { GuestAgent } from '../../lib/agent/guest-agent.js'
import { guestAgentAsset } from '../../lib/assets/guest-agent.js'
import { VmmError } from '../../lib/errors.js'

/** The real agent, run on this machine, with its connection on a Unix socket. */
export class AgentRig implements AsyncDisposable {
  private constructor(
    readonly folder: string,
    readonly link: AgentLink,
    readonly agent: GuestAgent,
    readonly socket: Socket,
    readonly child: ChildProcess,
    readonly ended: Promise<number | null>,
  ) {}

  /** @param serve takes the agent's connection instead of a {@link GuestAgent} */
  static async start(serve?: (socket: Socket) => void): Promise<AgentRig> {
    const folder = mkdtempSync(join(tmpdir(), 'node-kvm-agent-'))
    const program = join(folder, 'agent')
    writeFileSync(program, await guestAgentAsset())
    chmodSync(program, 0o755)
    const link = new AgentLink()
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(join(folder, 'socket'), resolve))
    const connected = new Promise<Socket>((resolve) => server.once('connection', resolve))
    const child = spawn(program, [`unix:${join(folder, 'socket')}`], { stdio: 'ignore' })
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve))
    const socket = await connected
    server.close()
    if (serve) serve(socket)
    else link.attach(socket)
    return new AgentRig(folder, link, new GuestAgent(link, 10_000), socket, child, ended)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.link.end(new VmmError('ERR_AGENT', 'the test is over'))
    this.socket.destroy()
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000)
      await this.ended
      clearTimeout(timer)
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Two ends of a connection: what is written to one is read from the other. */
export function duplexPair(): [Duplex, Duplex] {
  const make = (other: () => Duplex): Duplex =>
    new Duplex({
      read() {},
      write(chunk: Buffer, _encoding, done) {
        if (!other().destroyed) other().push(chunk)
        done()
      },
      destroy(error, done) {
        setImmediate(() => other().destroy())
        done(error)
      },
    })
  const left: Duplex = make(() => right)
  const right: Duplex = make(() => left)
  return [left, right]
}

/** The code of the error that a promise rejects with. */
export async function codeOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise
  } catch (error) {
    return (error as { code?: unknown }).code
  }
  throw new Error('it did not reject')
}
