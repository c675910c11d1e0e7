import type { NativeFd } from '../binding.js'
import { invalidOption } from '../errors.js'

/** What the KVM descriptors have in common. */
export abstract class Fd<N extends NativeFd> implements Disposable {
  /** The addon's object, for the addon's other classes. */
  readonly native: N

  constructor(native: N) {
    this.native = native
  }

  /** The file descriptor's number, -1 once closed. */
  get fd(): number {
    return this.native.fd
  }

  get closed(): boolean {
    return this.native.fd < 0
  }

  /**
   * Any ioctl of `native/ioctl_table.h` for this kind of descriptor, by number: for what has no method yet.
   * `argument` is a number or the struct's bytes, as the ioctl wants; the kernel's result is returned.
   * @throws KvmError when the kernel refuses; VmmError `ERR_INVALID_OPTION` for a request that is not listed or carries
   * a pointer, and for too few bytes; `ERR_CLOSED` after `close()`.
   */
  ioctl(request: number, argument?: number | Uint8Array): number {
    return this.native.ioctl(request, argument)
  }

  /** Gives the descriptor back. May be called again. */
  close(): void {
    this.native.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** Runs an ioctl that fills in `value`, and returns that. */
  protected get<T extends { readonly bytes: Uint8Array }>(request: number, value: T): T {
    this.native.ioctl(request, value.bytes)
    return value
  }

  protected set(request: number, value: { readonly bytes: Uint8Array }): number {
    return this.native.ioctl(request, value.bytes)
  }
}

/** `value` if it is an integer in the range, else ERR_INVALID_OPTION "KVM_CREATE_VCPU id: expected ...". */
export function checkInteger(
  value: number,
  option: string,
  minimum: number,
  maximum: number,
  unit = 1,
): number {
  if (Number.isInteger(value) && value >= minimum && value <= maximum && value % unit === 0) {
    return value
  }
  const multiple = unit === 1 ? 'an integer' : `a multiple of ${unit}`
  throw invalidOption(option, value, `${multiple} from ${minimum} to ${maximum}`)
}
