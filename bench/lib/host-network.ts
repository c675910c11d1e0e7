import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { setTimeout as sleep } from 'node:timers/promises'
import { netPeer, programs } from './guest-assets.js'

export const HOST_ADDRESS = '10.219.0.1'
export const GUEST_ADDRESS = '10.219.0.2'
export const ECHO_PORT = 7007
export const IPERF_PORT = 5201
/** For a guest's command line. */
export const NETWORK_PARAMETERS = `nodekvm.ip=${GUEST_ADDRESS}/24`

const ip = (...args: string[]) => execFileSync('ip', args)

/** A TAP interface of the host's with an address, which every monitor is given in turn. */
export class BenchTap implements Disposable {
  readonly name = `nkb${process.pid}`

  /** @throws Error without CAP_NET_ADMIN */
  constructor() {
    ip('tuntap', 'add', 'dev', this.name, 'mode', 'tap', 'vnet_hdr')
    ip('address', 'add', `${HOST_ADDRESS}/24`, 'dev', this.name)
    ip('link', 'set', this.name, 'up')
  }

  [Symbol.dispose](): void {
    ip('link', 'del', this.name)
  }
}

/** What guests talk to: iperf3 and an echo, each in a process of its own. */
export class HostServers implements Disposable {
  readonly #processes: readonly ChildProcess[]

  private constructor(processes: readonly ChildProcess[]) {
    this.#processes = processes
  }

  static async start(): Promise<HostServers> {
    const { folder } = await programs()
    const start = (command: string, ...args: string[]) =>
      spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'] })
    const servers = new HostServers([
      start(`${folder}/bin/iperf3`, '--server', '--port', `${IPERF_PORT}`),
      start(await netPeer(), 'echo', `${ECHO_PORT}`),
    ])
    await sleep(1000) // until they listen
    return servers
  }

  [Symbol.dispose](): void {
    for (const process of this.#processes) process.kill('SIGKILL')
  }
}

/** Shell for a guest: `RESULT NAME` and the megabits per second that the receiver had. */
export const iperfScript = (name: string, options: string): string =>
  `/programs/bin/iperf3 -c ${HOST_ADDRESS} -p ${IPERF_PORT} -f m ${options} >/tmp/iperf 2>&1 || tail -n 3 /tmp/iperf
awk '/receiver/{v=$(NF-2)} END{print "RESULT ${name}",v}' /tmp/iperf`
