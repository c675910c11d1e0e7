import { binding, type NativeEventFd } from '../binding.js'
import { Descriptor } from './descriptor.js'

/** Those whose owner was collected before anything closed them. */
const orphans = new FinalizationRegistry<NativeEventFd>((native) => native.close())

/**
 * An eventfd: a 64-bit counter that KVM, other threads and other processes can raise, and this event loop can wait on.
 * Every method but `close()` throws `ERR_CLOSED` once it is closed, `fd` is -1 then.
 */
export class EventFd extends Descriptor<NativeEventFd> {
  /** @throws KvmError `EMFILE` when the process is out of descriptors. */
  constructor() {
    super(new (binding().EventFd)())
  }

  /** Adds `value` (from 1 to 2^53 - 1) to the counter. A full counter stays full. */
  signal(value = 1): void {
    this.native.signal(value)
  }

  /** Takes the counter: its value, 0 if nobody raised it. */
  take(): number {
    return this.native.take()
  }

  /**
   * Calls back each time the counter was raised, with its value, which is taken. A callback that throws raises
   * 'uncaughtException'. The object is kept alive while it is watched; the event loop is not, unless `ref()` is called.
   * @throws VmmError `ERR_STATE` if it is watched already.
   */
  watch(callback: (count: number) => void): void {
    this.native.watch(callback)
  }

  /**
   * The same for as long as `owner` lives, which is given to `callback` and which the watch does not keep alive: once it
   * has been collected this object is closed. `callback` itself must not refer to it.
   */
  watchFor<T extends object>(owner: T, callback: (owner: T, count: number) => void): void {
    const reference = new WeakRef(owner)
    this.watch((count) => {
      const living = reference.deref()
      if (living !== undefined) callback(living, count)
    })
    orphans.register(owner, this.native)
  }

  /** Ends `watch`. Nothing happens if there is none. */
  unwatch(): void {
    this.native.unwatch()
  }

  /** Lets the watch keep the event loop alive. */
  ref(): this {
    this.native.ref()
    return this
  }

  /** Undoes `ref()`. */
  unref(): this {
    this.native.unref()
    return this
  }
}
