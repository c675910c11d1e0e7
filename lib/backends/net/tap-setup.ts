import { binding, type NativeTap } from '../../binding.js'
import { KvmError, VmmError } from '../../errors.js'
import type { TapSettings } from './tap-options.js'

/** One step of the configuration that the kernel refused. */
class ConfigureError extends Error {
  constructor(
    readonly option: string,
    readonly value: unknown,
    override readonly cause: KvmError,
  ) {
    super(cause.message)
  }
}

/** Does what the options say to an interface that is open. @throws ConfigureError */
export function configureTap(native: NativeTap, settings: TapSettings, made: boolean): void {
  const { addresses, bridge, mtu, owner } = settings
  const { name } = native
  const { configureInterface } = binding()
  const step = (option: string, value: unknown, act: () => void) => {
    try {
      act()
    } catch (error) {
      throw error instanceof KvmError ? new ConfigureError(option, value, error) : error
    }
  }
  if (mtu !== undefined) step('mtu', mtu, () => configureInterface(name, 'mtu', mtu))
  for (const { address, prefixLength, text } of addresses)
    step('address', text, () => configureInterface(name, 'address', address, prefixLength))
  if (bridge !== undefined) step('bridge', bridge, () => configureInterface(name, 'bridge', bridge))
  const { up = made || addresses.length > 0 || bridge !== undefined ? true : undefined } = settings
  if (up !== undefined) step('up', up, () => configureInterface(name, 'up', up))
  // Last: it makes the interface stay.
  if (owner !== undefined) step('owner', owner, () => native.setOwner(owner))
}

/** What {@link configureTap} threw, as the user sees it. */
export function configureTrouble(name: string, error: unknown): unknown {
  if (!(error instanceof ConfigureError)) return error
  const { option, value, cause } = error
  const expected =
    cause.code === 'EPERM'
      ? 'the capability CAP_NET_ADMIN, or an interface that is configured already'
      : option === 'bridge'
        ? 'a bridge that is there'
        : 'what this kernel takes'
  return new VmmError(
    'ERR_NET',
    `TAP ${name}: ${option} ${String(value)} cannot be set (${cause.syscall} ${cause.code}): expected ${expected}`,
    { option, value, expected, cause },
  )
}

/** What opening threw, as the user sees it: what it means, and what would help. */
export function openTrouble(name: string, queues: number, cause: unknown): unknown {
  if (!(cause instanceof KvmError)) return cause
  const [what, expected] = meaning(cause, queues)
  const details = { option: 'name', value: name, expected, cause }
  return new VmmError('ERR_NET', `TAP ${name} ${what}: expected ${expected}`, details)
}

function meaning(
  { code, syscall }: KvmError,
  queues: number,
): readonly [what: string, expected: string] {
  if (syscall === 'open') {
    return code === 'ENOENT' || code === 'ENODEV' || code === 'ENXIO'
      ? ['cannot be used, /dev/net/tun is not there', 'a host with the tun module loaded']
      : ['may not be used', 'access to /dev/net/tun']
  }
  switch (code) {
    case 'ENODEV':
      return ['does not exist', 'a TAP interface, as made by `ip tuntap add NAME mode tap`']
    case 'EBUSY':
      return ['is in use', 'an interface that no other program has open']
    case 'EPERM':
      return [
        'may not be opened',
        'an interface made for this user, or the capability CAP_NET_ADMIN',
      ]
    case 'EINVAL':
      return queues > 1
        ? ['has one queue only', 'one as made by `ip tuntap add NAME mode tap multi_queue`']
        : ['is of another kind', 'a TAP interface with one queue']
    case 'E2BIG':
      return ['has all its queues in use', 'an interface that no other program has open']
    default:
      return [`cannot be opened: ${syscall} ${code}`, 'a TAP interface']
  }
}
