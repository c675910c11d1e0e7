import { getSystemErrorName } from 'node:util'
import { asError, KvmError, VmmError } from '../errors.js'
import type { VcpuExit } from '../kvm/exit.js'
import { hex } from '../util/bits.js'

/**
 * Why the vCPUs of a machine run no more. `vcpu` is the index of the one that brought it about, `detail` says it in words.
 */
export type RunEnding = { readonly detail: string } & (
  | /** Every vCPU executed HLT, and there is no interrupt controller in the kernel to wake one. */ {
      readonly kind: 'halted'
    }
  | /** The guest powered itself off (KVM_SYSTEM_EVENT_SHUTDOWN). */ {
      readonly kind: 'shutdown'
      readonly vcpu: number
    }
  | /** The guest asked for a reset (KVM_SYSTEM_EVENT_RESET). */ {
      readonly kind: 'reset'
      readonly vcpu: number
    }
  | /** A triple fault, which resets a PC (some guests reboot so), or a crash that the guest reported. */ {
      readonly kind: 'crash'
      readonly cause: 'triple-fault' | 'system-event'
      readonly vcpu: number
    }
  | /** KVM could not go on, most often with an instruction that it cannot emulate. */ {
      readonly kind: 'internal-error'
      /** KVM_INTERNAL_ERROR_*. */
      readonly suberror: number
      readonly data: readonly bigint[]
      readonly vcpu: number
    }
  | /** The processor refused the guest's state. */ {
      readonly kind: 'fail-entry'
      readonly hardwareEntryFailureReason: bigint
      readonly vcpu: number
    }
  | /** KVM_RUN failed, or returned an exit that nobody asked for. */ {
      readonly kind: 'kvm-error'
      readonly error: KvmError | VmmError
      readonly vcpu: number
    }
  | /** A device model threw: `error.cause` is what. */ {
      readonly kind: 'device-error'
      readonly error: VmmError
    }
)

/**
 * What an exit other than PIO, MMIO and HLT makes of the machine.
 * @param site where the vCPU was, for the endings that are its fault; not asked for others
 */
export function endingOfExit(vcpu: number, exit: VcpuExit, site: () => string): RunEnding {
  switch (exit.reason) {
    case 'shutdown': {
      const detail = `vCPU ${vcpu}: triple fault ${site()}`.trimEnd()
      return { kind: 'crash', cause: 'triple-fault', vcpu, detail }
    }
    case 'system-event':
      return endingOfSystemEvent(vcpu, exit)
    case 'internal-error': {
      const { suberror, data, name } = exit
      const words = data.map(hex).join(' ')
      const bytes =
        exit.instruction && `instruction ${Buffer.from(exit.instruction).toString('hex')}`
      const what = `vCPU ${vcpu}: KVM internal error ${suberror} (${name}): ${words}`
      const detail = [what, bytes, site()].filter(Boolean).join(', ')
      return { kind: 'internal-error', suberror, data, vcpu, detail }
    }
    case 'fail-entry': {
      const { hardwareEntryFailureReason } = exit
      const what = `vCPU ${vcpu}: the processor refused to enter the guest, reason ${hex(hardwareEntryFailureReason)}`
      const detail = [what, site()].filter(Boolean).join(', ')
      return { kind: 'fail-entry', hardwareEntryFailureReason, vcpu, detail }
    }
    default:
      return unexpectedExit(vcpu, exit)
  }
}

function endingOfSystemEvent(vcpu: number, exit: VcpuExit & { reason: 'system-event' }): RunEnding {
  const words = exit.data.map(hex).join(' ')
  const detail = `vCPU ${vcpu}: system event ${exit.type} (${exit.event}) ${words}`.trimEnd()
  switch (exit.event) {
    case 'shutdown':
    case 'reset':
      return { kind: exit.event, vcpu, detail }
    case 'crash':
    case 'sev-term':
    case 'tdx-fatal':
      return { kind: 'crash', cause: 'system-event', vcpu, detail }
    default:
      return unexpectedExit(vcpu, exit)
  }
}

function unexpectedExit(vcpu: number, exit: VcpuExit): RunEnding {
  const what = JSON.stringify(exit, (_key, value: unknown) =>
    typeof value === 'bigint' ? hex(value) : value,
  )
  const detail = `vCPU ${vcpu}: KVM exit that nothing here handles: ${what}`
  return {
    kind: 'kvm-error',
    error: new VmmError('ERR_KVM_UNSUPPORTED', detail),
    vcpu,
    detail,
  }
}

/** KVM_RUN failed with `errno`. */
export function endingOfErrno(vcpu: number, errno: number): RunEnding {
  const error = new KvmError(getSystemErrorName(-errno), errno, 'KVM_RUN', `vCPU ${vcpu}`)
  return { kind: 'kvm-error', error, vcpu, detail: error.message }
}

/** A device's method threw `cause`; `access` is what it was asked: `'uart0: write of 1 byte at offset 0x0'`. */
export function endingOfDeviceError(access: string, cause: unknown): RunEnding {
  const message = asError(cause).message
  const error = new VmmError('ERR_DEVICE', `${access}: ${message}`, { cause })
  return { kind: 'device-error', error, detail: error.message }
}
