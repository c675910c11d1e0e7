import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, statSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join, normalize } from 'node:path'
import { Passt, type PasstOptions, Tap } from '../../lib/devices.js'

/** Where a guest on passt finds the host. */
export const GATEWAY = '10.0.2.2'

/** Whether there is no passt; says so once. */
export const noPasst = spawnSync('passt', ['--version']).error !== undefined
if (noPasst) console.log('passt is not tested: it is not installed')

/** A network of passt's, with DHCP, whose gateway is this machine's loopback interface. */
export const passtNetwork = (options: Pick<PasstOptions, 'forwards'> = {}) =>
  new Passt({ address: '10.0.2.15', prefixLength: 24, gateway: GATEWAY, ipVersion: 4, ...options })

/** passt wants an interface with a default route, which a host without a network lacks. */
export async function defaultRoute(): Promise<AsyncDisposable> {
  const network = new Tap('nkg%d', { create: true, address: '10.218.0.1/24' })
  await network.open()
  const route = ['route', 'add', 'default', 'via', '10.218.0.2', 'dev', network.name]
  execFileSync('ip', [...route, 'metric', '9999'])
  return { [Symbol.asyncDispose]: () => network.close() }
}

/** What a path gets that is no file. */
type Answers = Readonly<Record<string, string | Uint8Array>>

/** A plain HTTP server on the loopback interface that shows a folder's files, or what `answers` has for a path. */
export class HostServer implements AsyncDisposable {
  /** Paths that it was asked for. */
  readonly asked: string[] = []
  readonly #server: Server

  private constructor(folder: string, answers: Answers) {
    this.#server = createServer(({ url = '/' }, response) => {
      const path = decodeURIComponent(url)
      this.asked.push(path)
      const answer = answers[path]
      if (answer !== undefined) return void response.end(answer)
      const file = join(folder, normalize(path))
      if (!statSync(file, { throwIfNoEntry: false })?.isFile()) response.writeHead(404).end()
      else createReadStream(file).pipe(response)
    })
  }

  static async start(folder: string, answers: Answers = {}): Promise<HostServer> {
    const host = new HostServer(folder, answers)
    host.#server.listen(0, '127.0.0.1')
    await once(host.#server, 'listening')
    return host
  }

  /** Where a guest finds it. */
  get url(): string {
    return `http://${GATEWAY}:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
