import {
  type NetAgreement,
  type NetAttachment,
  type NetBackend,
  type NetChannel,
  NO_OFFLOADS,
  type ReceiveFilter,
} from '../../lib/backends/net/net-backend.js'

/** A channel that moves no frames and notes what it is told. */
export class RecordingChannel implements NetChannel {
  readonly posted = 0
  readonly overruns = 0
  readonly heard: string[] = []
  agreed: NetAgreement | undefined
  wanted: ReceiveFilter | undefined
  /** What `enable` answers. */
  able = true

  constructor(readonly attachment: NetAttachment) {}
  agree(agreed: NetAgreement): void {
    this.agreed = agreed
  }
  frame(): void {}
  buffer(): void {}
  segment(): void {}
  transmit(): void {}
  post(): void {}
  hold(on: boolean): void {
    this.heard.push(`hold ${on}`)
  }
  filter(wanted: ReceiveFilter | undefined): void {
    this.wanted = wanted
  }
  link(up: boolean): void {
    this.heard.push(`link ${up}`)
  }
  enable(on: boolean): boolean {
    this.heard.push(`enable ${on}`)
    return this.able
  }
  reset(): void {}
  async close(): Promise<void> {
    this.heard.push('close')
  }
}

/** A backend of channels that move nothing. */
export class RecordingNet implements NetBackend {
  readonly name = 'recording'
  readonly mac = '52:54:00:12:34:56'
  readonly channels: RecordingChannel[] = []
  /** Done while a channel is attached. */
  attaching: (attachment: NetAttachment) => void = () => {}

  constructor(
    readonly queuePairs = 2,
    readonly offloads = NO_OFFLOADS,
  ) {}
  async open(): Promise<void> {}
  async close(): Promise<void> {}
  attach(attachment: NetAttachment): NetChannel {
    const channel = new RecordingChannel(attachment)
    this.channels.push(channel)
    this.attaching(attachment)
    return channel
  }
}
