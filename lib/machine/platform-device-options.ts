import { randomUUID } from 'node:crypto'
import { DEBUG_EXIT_PORT, DEBUGCON_PORT } from '../arch/x86-64/layout.js'
import { invalidOption } from '../errors.js'
import * as check from './option-checks.js'

/** Devices of a PC that are there when asked for, most of them for people who write kernels. */
export interface PlatformDeviceOptions {
  /** Bochs's debug console: bytes written to its port come out of {@link VirtualMachine.debugcon}. None unless told. */
  debugcon?:
    | boolean
    | {
        /** 0xE9 unless told; SeaBIOS and OVMF write to 0x402. */
        port?: number
        /** Bytes kept for a reader that is behind, as of the serial console. 1 MiB unless told. */
        bufferSize?: number | string
      }
  /** QEMU's `isa-debug-exit`: a write ends the machine as `{ kind: 'exit', code }`. None unless told. */
  debugExit?:
    | boolean
    | {
        /** 0xF4 unless told. */
        port?: number
        /** Ports, and so the widest write that counts: 1, 2 or 4. 4 unless told. */
        size?: 1 | 2 | 4
      }
  /** The paravirtual panic device, by which a guest's kernel tells that it has panicked. None unless told. */
  pvpanic?:
    | boolean
    | {
        /** `'stop'`, unless told: the machine ends as `{ kind: 'panicked' }`. `'warn'`: it goes on after a `warning` event. */
        onPanic?: 'stop' | 'warn'
      }
  /** QEMU's `pc-testdev`, which kvm-unit-tests ask for: ports 0xE0 to 0xEB, 0x2000 to 0x2017, memory at 0xFF000000. */
  testDevice?: boolean
  /** A watchdog. None unless told. */
  watchdog?:
    | boolean
    | {
        /**
         * `'ib700'` is at ports 0x441 and 0x443 (Linux: `ib700wdt`), `'i6300esb'` on PCI (Linux: `i6300esb`, which Debian's
         * kernels have). `'ib700'` unless told.
         */
        model?: 'ib700' | 'i6300esb'
        /** What happens when the guest has not fed it: the machine ends as `{ kind: 'watchdog' }`, or is reset. `'stop'` unless told. */
        onExpire?: 'stop' | 'reset'
      }
  /**
   * A VM generation ID, told of by ACPI: a UUID, or `true` for a random one. None unless told; not with a firmware, nor
   * without ACPI.
   */
  vmGenerationId?: boolean | string
}

const port = (fallback: number) => check.withDefault(check.integer(0, 0xffff), fallback)

const size: check.Check<1 | 2 | 4> = check.value('1, 2 or 4', (given) =>
  [1, 2, 4].includes(given as number),
)

const bufferSize = check.byteSize(
  () => "from 4 KiB to 1 GiB, such as '1M'",
  (bytes) => bytes >= 4096 && bytes <= 2 ** 30,
)

/** A device that is asked for by `true`, or by an object that says more. */
function device<T>(options: check.Check<T>): check.Check<T | undefined> {
  return (given, name) => {
    if (given === undefined || given === false) return undefined
    return options(given === true ? {} : given, name)
  }
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

/** As the guest sees it, from here on the same for the machine's whole life. */
const generationId: check.Check<Uint8Array | undefined> = (given, name) => {
  if (given === undefined || given === false) return undefined
  const uuid = given === true ? randomUUID() : given
  if (typeof uuid === 'string' && UUID.test(uuid)) return guidBytes(uuid)
  throw invalidOption(
    name,
    given,
    'a boolean, or a UUID such as 8d5be0e8-5a4c-4b4e-8f7c-5d0a7ec1a1f4',
  )
}

/** A GUID's first three fields are little-endian in memory (UEFI 2.10, appendix A). */
function guidBytes(uuid: string): Uint8Array {
  const bytes = Uint8Array.from(Buffer.from(uuid.replaceAll('-', ''), 'hex'))
  for (const [start, end] of [
    [0, 4],
    [4, 6],
    [6, 8],
  ] as const) {
    bytes.subarray(start, end).reverse()
  }
  return bytes
}

export const checkPlatformDevices = check.object({
  debugcon: device(
    check.object({
      port: port(DEBUGCON_PORT),
      bufferSize: check.withDefault(bufferSize, '1M'),
    }),
  ),
  debugExit: device(
    check.object({ port: port(DEBUG_EXIT_PORT), size: check.withDefault(size, 4) }),
  ),
  pvpanic: device(
    check.object({ onPanic: check.withDefault(check.oneOf('stop', 'warn'), 'stop') }),
  ),
  testDevice: check.withDefault(check.boolean, false),
  watchdog: device(
    check.object({
      model: check.withDefault(check.oneOf('ib700', 'i6300esb'), 'ib700'),
      onExpire: check.withDefault(check.oneOf('stop', 'reset'), 'stop'),
    }),
  ),
  vmGenerationId: generationId,
})

/** {@link PlatformDeviceOptions}, checked and completed. */
export type PlatformDeviceConfig = Readonly<ReturnType<typeof checkPlatformDevices>>
