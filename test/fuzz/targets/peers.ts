import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { AgentLink } from '../../../lib/agent/agent-link.js'
import { GuestAgent } from '../../../lib/agent/guest-agent.js'
import * as agents from '../../../lib/agent/protocol.js'
import * as fuse from '../../../lib/backends/share/fuse-abi.js'
import { SharedFolder } from '../../../lib/backends/share/shared-folder.js'
import type { DebugObserver, DebugTarget } from '../../../lib/debug/debug-target.js'
import { serveGdb } from '../../../lib/debug/gdb-server.js'
import { encodePacket } from '../../../lib/debug/packet.js'
import { VmmError } from '../../../lib/errors.js'
import { KvmRegs, KvmSregs } from '../../../lib/kvm/abi/registers.js'
import type { VcpuFd } from '../../../lib/kvm/vcpu-fd.js'
import { duplexPair } from '../../agent/agent-rig.js'
import { message, names, u32, u64 } from '../../backends/share/fuse-client.js'
import { plainMemory } from '../../helpers/guest-memories.js'
import { turns } from '../../helpers/virtio-driver.js'
import { check, type FuzzTarget, Input } from './target.js'

const root = mkdtempSync(join(tmpdir(), 'node-kvm-fuzz-'))
process.once('exit', () => rmSync(root, { recursive: true, force: true }))

/** Beside the folder that is shared: nothing of it may be seen or changed. */
const SECRET = join(root, 'secret')
writeFileSync(SECRET, 'secret')

/** Messages, each behind its opcode, node and length. */
const fuseSeed = (...messages: [opcode: number, node: number, ...body: Buffer[]][]) =>
  Uint8Array.from(
    messages.flatMap(([opcode, node, ...body]) => {
      const bytes = Buffer.concat(body)
      return [opcode, node, bytes.length, ...bytes]
    }),
  )

export const share: FuzzTarget = {
  about: 'FUSE messages to a shared folder',
  words: ['a\0', 'new\0', '..\0', '../secret\0', '/\0', 'link\0', 'dir\0', '.\0', u64(1), u64(2)],
  seeds: () => [
    fuseSeed(
      [fuse.FUSE_INIT, 0, u32(7, 31, 65536, 0)],
      [fuse.FUSE_LOOKUP, 1, names('a')],
      [fuse.FUSE_OPEN, 2, u32(2, 0)],
      [fuse.FUSE_WRITE, 2, u64(1, 0), u32(3, 0), u64(0), u32(0, 0), names('ab')],
      [fuse.FUSE_READ, 2, u64(1, 0), u32(64, 0), u64(0), u32(0, 0)],
      [fuse.FUSE_RELEASE, 2, u64(1, 0), u32(0, 0)],
    ),
    fuseSeed(
      [fuse.FUSE_CREATE, 1, u32(66, 0o644, 0o22, 0), names('new')],
      [fuse.FUSE_RENAME, 1, u64(1), names('new', 'newer')],
      [fuse.FUSE_SYMLINK, 1, names('sym', '../secret')],
      [fuse.FUSE_MKDIR, 1, u32(0o755, 0), names('made')],
      [fuse.FUSE_OPENDIR, 1, u32(0, 0)],
      [fuse.FUSE_READDIR, 1, u64(2, 0), u32(300, 0), u64(0), u32(0, 0)],
      [fuse.FUSE_UNLINK, 1, names('newer')],
      [fuse.FUSE_FORGET, 2, u64(1)],
    ),
    fuseSeed(
      [fuse.FUSE_LOOKUP, 1, names('link')],
      [fuse.FUSE_READLINK, 2],
      [fuse.FUSE_GETATTR, 1, u32(0, 0), u64(0)],
      [fuse.FUSE_STATFS, 1],
      [fuse.FUSE_SETATTR, 2, u32(8, 0), ...[u64(0, 100, 0, 0, 0), u32(0, 0, 0, 0, 0, 0, 0, 0)]],
    ),
  ],
  run: async (data) => {
    const folder = mkdtempSync(join(root, 'shared-'))
    writeFileSync(join(folder, 'a'), 'contents')
    symlinkSync('../secret', join(folder, 'link'))
    const input = new Input(data)
    const server = new SharedFolder(folder, { readOnly: (data.at(-1) ?? 0) > 0xf0 })
    await server.open()
    const pending: Promise<unknown>[] = []
    for (let i = 0; i < 64 && !input.done; i++) {
      const [opcode, node, length] = [input.u8(), input.u8(), input.u8()]
      const body = Buffer.from(input.bytes(length))
      const room = 16 + (opcode & 0x80 ? node : 4096)
      const answer = server.handle(message(opcode & 0x7f, node, body), room)
      const judge = (bytes: Buffer | undefined) => {
        check((bytes?.length ?? 16) <= room, 'an answer that is longer than its room')
        check(!bytes?.includes('secret\0'), 'it tells what it must not')
      }
      if (answer instanceof Promise) pending.push(answer.then(judge))
      else judge(answer)
      if (opcode === 0) server.reset()
    }
    await Promise.all(pending)
    await server.close()
    const isReadOnly = server.readOnly && readdirSync(folder).length !== 2
    rmSync(folder, { recursive: true, force: true })
    check(!isReadOnly, 'a folder that is only to be read was changed')
    check(readFileSync(SECRET, 'utf8') === 'secret', 'a file outside of the folder was changed')
    check(readdirSync(root).length === 1, 'a file was made outside of the folder')
  },
}

const { encodeFrame, encodeWords } = agents
const hello = encodeFrame(agents.HELLO, 0, encodeWords(agents.HELLO_MAGIC, agents.PROTOCOL_VERSION))

export const agent: FuzzTarget = {
  about: 'what an agent in the guest may say',
  seeds: () => [
    Buffer.concat([
      encodeFrame(agents.STARTED, 1, encodeWords(5)),
      encodeFrame(agents.DATA, 1, Buffer.from('out'), 1),
      encodeFrame(agents.EOF, 1, undefined, 1),
      encodeFrame(agents.EOF, 1, undefined, 2),
      encodeFrame(agents.CREDIT, 1, encodeWords(100), 0),
      encodeFrame(agents.EXIT, 1, encodeWords(0, 0)),
    ]),
    Buffer.concat([
      encodeFrame(agents.STARTED, 2, encodeWords(0o644, 3, 0)),
      encodeFrame(agents.DATA, 2, Buffer.from('abc'), 1),
      encodeFrame(agents.EOF, 2, undefined, 1),
      encodeFrame(agents.EXIT, 2, encodeWords(0, 0)),
      encodeFrame(agents.FAILED, 3, encodeWords(2, 0)),
      encodeFrame(agents.PONG, 0),
    ]),
    Buffer.concat([
      encodeFrame(agents.STARTED, 4, encodeWords(0o40755, 0, 0)),
      // A directory's entry: inode, offset, length, type and name.
      encodeFrame(
        agents.DATA,
        4,
        Buffer.concat([u64(1, 1), Buffer.from([24, 0, 8]), names('abcd')]),
        1,
      ),
      encodeFrame(agents.EOF, 4, undefined, 1),
      encodeFrame(agents.EXIT, 4, encodeWords(0, 0)),
    ]),
  ],
  run: async (data) => {
    const link = new AgentLink()
    const guestAgent = new GuestAgent(link, 10_000)
    const [host, guest] = duplexPair()
    guest.on('error', () => {}).resume()
    link.attach(host)
    // Now and then also the greeting is the input's.
    if ((data.at(-1) ?? 0) < 0xf0) guest.write(hello)
    const target = mkdtempSync(join(root, 'agent-'))
    const runs = Promise.allSettled([
      guestAgent.exec(['a'], { stdin: 'input' }),
      guestAgent.readFile('b'),
      guestAgent.writeFile('c', 'data'),
      guestAgent.copyOut('/d', join(target, 'd'), { recursive: true }),
      guestAgent.ping(),
    ])
    await turns()
    for (
      let at = 0, length = 1;
      at < data.length;
      at += length, length = 1 + ((length * 5) % 200)
    ) {
      guest.write(data.subarray(at, at + length))
      if (length % 3 === 0) await turns()
    }
    await turns()
    link.end(new VmmError('ERR_AGENT', 'over'))
    for (const run of await runs) {
      if (run.status === 'rejected' && !(run.reason instanceof VmmError)) throw run.reason
    }
    guest.destroy()
    rmSync(target, { recursive: true, force: true })
    check(readdirSync(root).length === 1, 'a file was made outside of the folder')
  },
}

const RAM = 0x10000
const MP_STATES = 5

/** Vcpus that hold registers and run nothing; memory is mapped to itself. */
class StillTarget implements DebugTarget {
  readonly memory = plainMemory([0, RAM])
  readonly ended = false
  readonly vcpus = [0, 1].map((index) => this.#vcpu(index))
  killed = 0
  held = false
  observer: DebugObserver | undefined

  observe(observer: DebugObserver | undefined): void {
    this.observer = observer
  }
  async hold(): Promise<void> {
    this.held = true
  }
  release(): void {
    this.held = false
  }
  watchPort(): () => void {
    return () => {}
  }
  kill(): void {
    this.killed++
  }
  async reset(): Promise<void> {}

  #vcpu(index: number): VcpuFd {
    const regs = new KvmRegs()
    const sregs = new KvmSregs()
    const xsave = new Uint8Array(4096)
    const vcpu = {
      getRegs: () => new KvmRegs(regs.bytes.slice()),
      setRegs: ({ bytes }: KvmRegs) => regs.bytes.set(bytes),
      getSregs: () => new KvmSregs(sregs.bytes.slice()),
      setSregs: ({ bytes }: KvmSregs) => sregs.bytes.set(bytes),
      getXsave: () => xsave.slice(),
      setXsave: (bytes: Uint8Array) => xsave.set(bytes),
      getMpState: () => (index + regs.bytes[0]!) % MP_STATES,
      translate: (address: bigint) => ({
        valid: address < 2n ** 62n ? 1 : 0,
        physical_address: address,
      }),
      setGuestDebug: () => {},
    }
    return vcpu as unknown as VcpuFd
  }
}

/** Right checksums, so that what is in the packets matters. */
function mendPackets(input: Uint8Array): Uint8Array {
  const text = Buffer.from(input).toString('latin1')
  const mended = text.replace(/\$([^$#]*)#(..)?/gs, (_, payload: string) => {
    const sum = Buffer.from(payload, 'latin1').reduce((total, byte) => (total + byte) & 0xff, 0)
    return `$${payload}#${sum.toString(16).padStart(2, '0')}`
  })
  return Uint8Array.from(Buffer.from(mended, 'latin1'))
}

const packets = (...payloads: string[]) => Buffer.concat(payloads.map((text) => encodePacket(text)))

export const gdb: FuzzTarget = {
  about: 'packets of a debugger',
  words: [
    ...['$qSupported:swbreak+;hwbreak+#', '$vCont;c:p1.1;s#', '$qXfer:features:read:target.xml:0,'],
    ...['$m0,10#', '$Z0,100,1#', '$z2,8,4#', '$X10,3:}\x03a#', '$P10=0000000000000000#', '\x03'],
    ...['$qRcmd,696e666f20726567697374657273#', '$QStartNoAckMode#', '$Hg-1#', '$T1#', 'ffffffff'],
  ],
  mend: mendPackets,
  seeds: () => [
    packets(
      'qSupported:swbreak+',
      'Hg1',
      'g',
      'm0,40',
      'M10,2:abcd',
      'p10',
      'P10=0100000000000000',
    ),
    packets('Z0,100,1', 'Z1,200,1', 'Z2,300,4', 'vCont;c', 'z0,100,1', 'D'),
    packets('qXfer:features:read:target.xml:0,100', 'qfThreadInfo', 'qThreadExtraInfo,1', 'k'),
    packets('qRcmd,68656c70', 'qRcmd,696e666f20726567697374657273', 's', 'C05', 'vKill;1'),
  ],
  run: async (data) => {
    const target = new StillTarget()
    const support = { int3: true, hardwareBreakpoints: true, watchpoints: true, blockIrq: true }
    const [server, client] = duplexPair()
    let sent = 0
    client.on('data', (chunk: Buffer) => {
      sent += chunk.length
    })
    client.on('error', () => {})
    const served = serveGdb(target, support, server)
    await turns()
    for (let at = 0, length = 3; at < data.length; at += length, length = 1 + ((length * 3) % 90)) {
      client.write(data.subarray(at, at + length))
      if (length % 4 === 0) {
        await turns()
        // What runs stops at a breakpoint, at a step, or by itself.
        if (!target.held) target.observer?.debugExit(length & 1, DEBUG_EXITS[length % 3]!)
      }
    }
    await turns()
    client.destroy()
    await served
    check(target.observer === undefined, 'a client that has left is still told')
    check(target.killed <= 1, 'a guest was killed twice')
    check(sent <= 0x10000 * (data.length + 1), 'more is sent than is asked for')
    target.memory.close()
  },
}

const DEBUG_EXITS = [
  { exception: 3, pc: 0x100n, dr6: 0xffff_0ff0n },
  { exception: 1, pc: 0x200n, dr6: 0xffff_4ff0n },
  { exception: 1, pc: 0x200n, dr6: 0xffff_0ff1n },
]
