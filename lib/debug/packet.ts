/** What a client sends (GDB manual, "Overview" of the remote serial protocol). */
export type GdbInput =
  | { readonly kind: 'packet'; readonly payload: Buffer }
  /** Its checksum is wrong, or it is longer than this side said it takes. */
  | { readonly kind: 'bad-packet' }
  /** `+` and `-`: the last packet came, or is to be sent again. */
  | { readonly kind: 'ack' }
  | { readonly kind: 'nak' }
  /** Control-C outside of a packet. */
  | { readonly kind: 'interrupt' }

const START = 0x24 // $
const END = 0x23 // #
const ESCAPE = 0x7d // }
const RUN_LENGTH = 0x2a // *
const ESCAPE_XOR = 0x20
const INTERRUPT = 0x03
const ACK = 0x2b
const NAK = 0x2d

const CHECKSUM_DIGITS = 2

/** A payload in its frame: `$`, the payload with what has a meaning escaped, `#` and the checksum. */
export function encodePacket(payload: Uint8Array | string): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload
  const body: number[] = []
  for (const byte of bytes) {
    if (byte === START || byte === END || byte === ESCAPE || byte === RUN_LENGTH) {
      body.push(ESCAPE, byte ^ ESCAPE_XOR)
    } else {
      body.push(byte)
    }
  }
  const sum = body.reduce((total, byte) => (total + byte) & 0xff, 0)
  const digits = sum.toString(16).padStart(CHECKSUM_DIGITS, '0')
  return Buffer.from([START, ...body, END, ...Buffer.from(digits)])
}

/**
 * Takes a client's bytes apart, in whatever pieces they come. Keeps at most `limit` bytes of a packet; what belongs to no
 * packet is passed over.
 */
export class PacketDecoder {
  readonly #limit: number
  #body: number[] = []
  #digits = ''
  #state: 'between' | 'body' | 'checksum' = 'between'

  /** @param limit bytes between `$` and `#`, escapes counted */
  constructor(limit: number) {
    this.#limit = limit
  }

  push(chunk: Uint8Array): GdbInput[] {
    const inputs: GdbInput[] = []
    for (const byte of chunk) {
      const input = this.#take(byte)
      if (input !== undefined) inputs.push(input)
    }
    return inputs
  }

  #take(byte: number): GdbInput | undefined {
    if (this.#state === 'checksum') return this.#takeDigit(byte)
    if (byte === START) {
      // Within a packet too: the rest of that one was lost.
      this.#body = []
      this.#state = 'body'
    } else if (this.#state === 'body') {
      if (byte === END) this.#state = 'checksum'
      // One more than the limit tells that there was more.
      else if (this.#body.length <= this.#limit) this.#body.push(byte)
    } else if (byte === INTERRUPT) {
      return { kind: 'interrupt' }
    } else if (byte === ACK) {
      return { kind: 'ack' }
    } else if (byte === NAK) {
      return { kind: 'nak' }
    }
    return undefined
  }

  #takeDigit(byte: number): GdbInput | undefined {
    this.#digits += String.fromCharCode(byte)
    if (this.#digits.length < CHECKSUM_DIGITS) return undefined
    const body = this.#body
    const sum = body.reduce((total, next) => (total + next) & 0xff, 0)
    const good = /^[\da-f]{2}$/i.test(this.#digits) && Number.parseInt(this.#digits, 16) === sum
    const fits = body.length <= this.#limit
    this.#body = []
    this.#digits = ''
    this.#state = 'between'
    return good && fits ? { kind: 'packet', payload: withoutEscapes(body) } : { kind: 'bad-packet' }
  }
}

function withoutEscapes(body: readonly number[]): Buffer {
  const bytes: number[] = []
  for (let i = 0; i < body.length; i++) {
    const byte = body[i]!
    // At the very end it escapes nothing.
    if (byte === ESCAPE) bytes.push((body[++i] ?? 0) ^ ESCAPE_XOR)
    else bytes.push(byte)
  }
  return Buffer.from(bytes)
}
