import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { testNetwork } from './test-network.js'

let count = 0

/** Why no TAP interface can be made here, or `undefined`. */
export function noTapReason(): string | undefined {
  if (!existsSync('/dev/net/tun')) return '/dev/net/tun is not there'
  const tap = tryTap()
  if (typeof tap === 'string') return tap
  tap.remove()
  return undefined
}

function tryTap(): TapInterface | string {
  try {
    return new TapInterface()
  } catch (error) {
    return `no TAP interface can be made: ${(error as Error).message.split('\n')[0]}`
  }
}

/** A TAP interface of the host's, with a name of its own, and an address in a network of its own. */
export class TapInterface {
  readonly name = `nkt${process.pid % 100000}x${count++}`
  readonly network = testNetwork()

  constructor() {
    ip('tuntap', 'add', this.name, 'mode', 'tap')
    // Else the host would send of its own accord, of IPv6, at whatever time; a kernel without IPv6 has no such mode.
    spawnSync('ip', ['link', 'set', this.name, 'addrgenmode', 'none'])
    try {
      ip('address', 'add', `${this.network.host}/${this.network.prefix}`, 'dev', this.name)
      ip('link', 'set', this.name, 'up')
    } catch (error) {
      this.remove()
      throw error
    }
  }

  set up(up: boolean) {
    ip('link', 'set', this.name, up ? 'up' : 'down')
  }

  /** Whether the host would send frames: some time after somebody has opened the interface. */
  get running(): boolean {
    return readFileSync(`/sys/class/net/${this.name}/operstate`, 'utf8').trim() === 'up'
  }

  remove(): void {
    ip('tuntap', 'del', this.name, 'mode', 'tap')
  }
}

function ip(...args: string[]): void {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] })
}
