import type { Duplex } from 'node:stream'
import { VmmError } from '../errors.js'
import { AgentConnection } from './agent-connection.js'

/** The connection to a guest's agent, as it comes and goes. */
export class AgentLink {
  #current: AgentConnection | undefined
  /** One that has not said hello yet: a newer one takes its place. */
  #candidate: AgentConnection | undefined
  /** Why there will be none: the machine has ended, or the agent cannot be talked to. */
  #refusal: VmmError | undefined
  readonly #waiting = new Set<{
    resolve: (connection: AgentConnection) => void
    reject: (error: VmmError) => void
  }>()
  #ended = false

  /** The agent has connected. */
  attach(stream: Duplex): void {
    if (this.#ended) {
      stream.destroy()
      return
    }
    this.#candidate?.close(replaced())
    const connection = new AgentConnection(stream, {
      ready: () => {
        this.#candidate = undefined
        this.#current?.close(replaced())
        this.#current = connection
        this.#refusal = undefined
        for (const { resolve } of this.#waiting) resolve(connection)
        this.#waiting.clear()
      },
      closed: (error) => {
        if (this.#current === connection) this.#current = undefined
        if (this.#candidate !== connection) return
        this.#candidate = undefined
        if (error.code !== 'ERR_AGENT') this.#refuse(error)
      },
    })
    this.#candidate = connection
  }

  /** Resolves with the connection once there is one; rejects if it is known that there will be none. */
  connection(): Promise<AgentConnection> {
    if (this.#current) return Promise.resolve(this.#current)
    if (this.#refusal) return Promise.reject(this.#refusal)
    return new Promise((resolve, reject) => this.#waiting.add({ resolve, reject }))
  }

  get connected(): boolean {
    return this.#current !== undefined
  }

  /** For good. */
  end(error: VmmError): void {
    if (this.#ended) return
    this.#ended = true
    this.#refuse(error)
    this.#candidate?.close(error)
    this.#current?.close(error)
  }

  #refuse(error: VmmError): void {
    this.#refusal = error
    for (const { reject } of this.#waiting) reject(error)
    this.#waiting.clear()
  }
}

function replaced(): VmmError {
  return new VmmError('ERR_AGENT', 'another agent in the guest has connected')
}
