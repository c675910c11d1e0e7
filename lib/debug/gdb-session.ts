import type { Debugger, ResumeAction, Stop } from './debugger.js'
import { parseHex, parseHexBytes, parseHexNumber, toHex } from './hex.js'
import { changePoint, readMemory, writeMemory } from './memory-packets.js'
import { monitor } from './monitor.js'
import { readRegister, readRegisters, writeRegister, writeRegisters } from './register-packets.js'
import { RegisterFile } from './registers.js'
import { EINVAL, OK, PACKET_SIZE, UNKNOWN } from './replies.js'
import { parseActions, parseThreadId, type Threads } from './resume-actions.js'
import { type StopFeatures, stopReply, threadId } from './stop-reply.js'
import { TARGET_XML } from './target-description.js'
import { vcpuState } from './vcpu-state-name.js'

/** What to do with the connection after the reply. */
export type Outcome = 'go-on' | 'no-ack' | 'close' | 'kill'

export interface Reply {
  /** `undefined`: the reply is the next stop. */
  readonly payload: string | undefined
  readonly outcome: Outcome
}

/** One client's conversation: packets in, replies out. It knows nothing of their frames. */
export class GdbSession {
  readonly #debugger: Debugger
  #features: StopFeatures = { swbreak: false, hwbreak: false }
  /** The thread that registers and memory are those of (`Hg`), and that `c` and `s` are for (`Hc`). */
  #general = 0
  #resumed: number | 'all' = 'all'
  #lastStop: Stop = { kind: 'interrupt', vcpu: 0 }

  constructor(debug: Debugger) {
    this.#debugger = debug
  }

  /** The guest stands still. @returns the stop reply */
  stopped(stop: Stop): string {
    this.#lastStop = stop
    if (stop.kind !== 'ended') this.#general = stop.vcpu
    return stopReply(stop, this.#features)
  }

  /** Control-C. */
  interrupt(): void {
    this.#debugger.interrupt(this.#general)
  }

  /** @throws what KVM refuses */
  async handle(packet: Buffer): Promise<Reply> {
    // Bytes as characters of the same number: of X alone is what follows no text.
    const text = packet.toString('latin1')
    if (this.#debugger.running) return { payload: EINVAL, outcome: 'go-on' }
    switch (text[0]) {
      case 'D':
        return { payload: OK, outcome: 'close' }
      case 'k':
        return { payload: undefined, outcome: 'kill' }
      case 'Q':
        return text === 'QStartNoAckMode'
          ? { payload: OK, outcome: 'no-ack' }
          : { payload: UNKNOWN, outcome: 'go-on' }
      case 'v':
        if (text.startsWith('vKill')) return { payload: OK, outcome: 'kill' }
        return { payload: this.#resumeOrQuery(text), outcome: 'go-on' }
      case 'c':
      case 's':
      case 'C':
      case 'S':
        return { payload: this.#resumeOne(text), outcome: 'go-on' }
      default:
        return { payload: await this.#answer(text, packet), outcome: 'go-on' }
    }
  }

  #answer(text: string, packet: Buffer): string | Promise<string> {
    const rest = text.slice(1)
    const { memory, target } = this.#debugger
    const vcpu = target.vcpus[this.#general]!
    switch (text[0]) {
      case '?':
        return stopReply(this.#lastStop, this.#features)
      case 'g':
        return readRegisters(vcpu)
      case 'G':
        return writeRegisters(vcpu, rest)
      case 'p':
        return readRegister(vcpu, rest)
      case 'P':
        return writeRegister(vcpu, rest)
      case 'm':
        return readMemory(vcpu, memory, rest)
      case 'M':
        return writeMemory(vcpu, memory, rest, parseHexBytes(rest.slice(rest.indexOf(':') + 1)))
      case 'X':
        return writeMemory(vcpu, memory, rest, packet.subarray(text.indexOf(':') + 1))
      case 'Z':
      case 'z':
        return changePoint(vcpu, this.#debugger, text)
      case 'H':
        return this.#chooseThread(rest)
      case 'T':
        return typeof parseThreadId(rest, this.#threads) === 'number' ? OK : EINVAL
      case 'q':
        return this.#query(text)
      default:
        return UNKNOWN
    }
  }

  get #threads(): Threads {
    return { count: this.#debugger.target.vcpus.length, chosen: this.#general }
  }

  #query(text: string): string | Promise<string> {
    const [name = '', ...parameters] = text.split(':')
    switch (name.split(',')[0]) {
      case 'qSupported':
        return this.#supported(parameters.join(':').split(';'))
      case 'qXfer':
        return transfer(parameters)
      case 'qAttached':
        return '1'
      case 'qC':
        return `QC${threadId(this.#general)}`
      case 'qfThreadInfo':
        return `m${this.#debugger.target.vcpus.map((_, index) => threadId(index)).join(',')}`
      case 'qsThreadInfo':
        return 'l'
      case 'qThreadExtraInfo':
        return this.#extraInfo(text.slice(text.indexOf(',') + 1))
      case 'qRcmd':
        return this.#monitor(text.slice(text.indexOf(',') + 1))
      default:
        return UNKNOWN
    }
  }

  #supported(client: readonly string[]): string {
    this.#features = {
      swbreak: client.includes('swbreak+'),
      hwbreak: client.includes('hwbreak+'),
    }
    const features = ['QStartNoAckMode+', 'qXfer:features:read+', 'swbreak+', 'hwbreak+']
    return [`PacketSize=${toHex(PACKET_SIZE)}`, ...features, 'vContSupported+'].join(';')
  }

  #extraInfo(id: string): string {
    const index = parseThreadId(id, this.#threads)
    if (typeof index !== 'number') return EINVAL
    return Buffer.from(vcpuState(index, this.#debugger.target.vcpus[index]!)).toString('hex')
  }

  async #monitor(command: string): Promise<string> {
    const text = parseHexBytes(command)?.toString('latin1')
    if (text === undefined) return EINVAL
    const output = await monitor(text, this.#debugger.target, this.#general)
    return Buffer.from(output).toString('hex')
  }

  #chooseThread(rest: string): string {
    const id = parseThreadId(rest.slice(1), this.#threads)
    if (id === undefined) return EINVAL
    if (rest[0] === 'c') this.#resumed = id
    else if (rest[0] === 'g' && id !== 'all') this.#general = id
    else return EINVAL
    return OK
  }

  #resumeOrQuery(text: string): string | undefined {
    if (text === 'vCont?') return 'vCont;c;C;s;S'
    if (!text.startsWith('vCont;')) return UNKNOWN
    const actions = parseActions(text.slice('vCont'.length), this.#threads)
    if (actions === undefined) return EINVAL
    this.#debugger.resume(actions)
    return undefined
  }

  /** `c`, `s`, `C` and `S`: for the thread that `Hc` chose, the others going on; an address to go on at may follow. */
  #resumeOne(text: string): string | undefined {
    const [, letter = '', address] =
      /^(?:([cs])|([CS])[\da-fA-F]{2};?)([\da-fA-F]*)$/
        .exec(text)
        ?.filter((group) => group !== undefined) ?? []
    if (letter === '') return EINVAL
    const chosen = this.#resumed === 'all' ? this.#general : this.#resumed
    const rip = parseHex(address)
    if (rip !== undefined) {
      const file = new RegisterFile(this.#debugger.target.vcpus[chosen]!)
      file.regs.rip = rip
      file.touch('regs')
      file.store()
    }
    const action: ResumeAction = letter.toLowerCase() === 's' ? 'step' : 'continue'
    const all = this.#debugger.target.vcpus.map((_, index) => [index, 'continue'] as const)
    this.#debugger.resume(new Map<number, ResumeAction>([...all, [chosen, action]]))
    return undefined
  }
}

/** `qXfer:features:read:target.xml:OFFSET,LENGTH`: `m` and a part, or `l` and the last. */
function transfer([object, operation, annex, part = '']: readonly string[]): string {
  if (object !== 'features' || operation !== 'read') return UNKNOWN
  if (annex !== 'target.xml') return 'E00'
  const [offset, length] = part.split(',').map(parseHexNumber)
  if (offset === undefined || length === undefined) return EINVAL
  // Escapes take room too, but there are none in the text.
  const end = offset + Math.min(length, PACKET_SIZE - 1)
  return (end < TARGET_XML.length ? 'm' : 'l') + TARGET_XML.slice(offset, end)
}
