import {
  KVM_GUESTDBG_BLOCKIRQ,
  KVM_GUESTDBG_ENABLE,
  KVM_GUESTDBG_INJECT_BP,
  KVM_GUESTDBG_INJECT_DB,
  KVM_GUESTDBG_SINGLESTEP,
  KVM_GUESTDBG_USE_HW_BP,
  KVM_GUESTDBG_USE_SW_BP,
} from '../kvm/abi/vcpu-state.js'
import type { VcpuFd } from '../kvm/vcpu-fd.js'
import { type BreakpointInstruction, breakpointInstruction } from './breakpoint-instruction.js'
import { DebugRegisters, type HardwareAccess, isSingleStep } from './debug-registers.js'
import type { DebugSupport } from './debug-support.js'
import type { DebugExit, DebugObserver, DebugTarget } from './debug-target.js'
import { PatchedMemory } from './patched-memory.js'
import { SoftwareBreakpoints } from './software-breakpoints.js'
import { translate } from './virtual-memory.js'

/** Why the guest stands still. `vcpu` is an index. */
export type Stop =
  | { readonly kind: 'interrupt' | 'step'; readonly vcpu: number }
  | { readonly kind: 'software-breakpoint' | 'hardware-breakpoint'; readonly vcpu: number }
  | {
      readonly kind: 'watchpoint'
      readonly vcpu: number
      readonly access: Exclude<HardwareAccess, 'execute'>
      readonly address: bigint
    }
  | { readonly kind: 'ended'; readonly status: 'exited' | 'crashed' }

export type ResumeAction = 'continue' | 'step'

const EXCEPTION_BP = 3

/** Stops and resumes a machine's vCPUs, with breakpoints. One client's: it begins with the guest held. */
export class Debugger implements DebugObserver {
  readonly target: DebugTarget
  readonly support: DebugSupport
  readonly memory: PatchedMemory
  readonly breakpoints: SoftwareBreakpoints
  readonly registers = new DebugRegisters()
  readonly #instruction: BreakpointInstruction
  readonly #onStop: (stop: Stop) => void
  readonly #unwatch: (() => void) | undefined
  #state: 'held' | 'running' | 'stopping' | 'detached' = 'held'
  /** What the client is told when all vCPUs stand still. */
  #stop: Stop | undefined
  /** Watchpoints hit by other vCPUs at the same time: the instruction is done, and does not come again. */
  readonly #pending: Stop[] = []
  /** Where vCPUs that have executed a breakpoint's instruction are to go back to. */
  readonly #goBack = new Map<number, bigint>()
  #actions: ReadonlyMap<number, ResumeAction> = new Map()

  /** @param onStop called once for each `resume()`, when all vCPUs stand still or the guest has ended */
  private constructor(target: DebugTarget, support: DebugSupport, onStop: (stop: Stop) => void) {
    this.target = target
    this.support = support
    this.memory = new PatchedMemory(target.memory)
    this.#onStop = onStop
    this.#instruction = breakpointInstruction(support)
    this.breakpoints = new SoftwareBreakpoints(this.memory, this.#instruction.bytes)
    const { port } = this.#instruction
    if (port !== undefined) {
      this.#unwatch = target.watchPort(port, (vcpu) => this.#wroteToPort(vcpu))
    }
  }

  /** Takes the machine's vCPUs out of the guest. */
  static async attach(
    target: DebugTarget,
    support: DebugSupport,
    onStop: (stop: Stop) => void,
  ): Promise<Debugger> {
    const debug = new Debugger(target, support, onStop)
    target.observe(debug)
    await target.hold()
    return debug
  }

  get running(): boolean {
    return this.#state === 'running' || this.#state === 'stopping'
  }

  /** Lets the vCPUs in `actions` go on, and no others. */
  resume(actions: ReadonlyMap<number, ResumeAction>): void {
    const stop: Stop | undefined = this.target.ended
      ? { kind: 'ended', status: 'exited' }
      : this.#pending.shift()
    if (stop !== undefined) {
      this.#onStop(stop)
      return
    }
    for (const [index, vcpu] of this.target.vcpus.entries()) {
      this.#setGuestDebug(vcpu, actions.get(index) === 'step')
    }
    this.#actions = actions
    this.#state = 'running'
    this.target.release([...actions.keys()])
  }

  /** Takes all vCPUs out of the guest, unless that is under way. */
  interrupt(vcpu: number): void {
    this.#stopAll({ kind: 'interrupt', vcpu })
  }

  /** Takes out what was put into the guest, and lets it go on. */
  async detach(): Promise<void> {
    if (this.#state === 'detached') return
    this.#state = 'detached'
    await this.target.hold()
    this.#unwatch?.()
    this.target.observe(undefined)
    if (this.target.ended) return
    this.#stepBack()
    this.breakpoints.clear()
    this.registers.clear()
    for (const vcpu of this.target.vcpus) vcpu.setGuestDebug({ control: 0 })
    this.target.release()
  }

  debugExit(index: number, exit: DebugExit): void {
    const stop = this.#judge(index, exit)
    if (stop) this.#stopAll(stop)
    else this.#giveToGuest(index, exit)
  }

  ended(status: 'exited' | 'crashed'): void {
    if (!this.running) return
    this.#state = 'held'
    this.#onStop({ kind: 'ended', status })
  }

  /** What of this debugger's an exit is, or undefined: the guest's own. */
  #judge(vcpu: number, { exception, pc, dr6 }: DebugExit): Stop | undefined {
    if (exception === EXCEPTION_BP) {
      return this.#isBreakpoint(vcpu, pc) ? { kind: 'software-breakpoint', vcpu } : undefined
    }
    const point = this.registers.hit(dr6)
    if (point !== undefined) {
      const { access, address } = point
      if (access === 'execute') return { kind: 'hardware-breakpoint', vcpu }
      return { kind: 'watchpoint', vcpu, access, address }
    }
    const stepping = this.#actions.get(vcpu) === 'step'
    return stepping && isSingleStep(dr6) ? { kind: 'step', vcpu } : undefined
  }

  /** By the memory, as the guest may have mapped it elsewhere too. */
  #isBreakpoint(vcpu: number, pc: bigint): boolean {
    const physical = translate(this.target.vcpus[vcpu]!, pc)
    return physical !== undefined && this.memory.isPatched(physical)
  }

  /** The guest has breakpoints and steps of its own. */
  #giveToGuest(index: number, { exception }: DebugExit): void {
    const inject = exception === EXCEPTION_BP ? KVM_GUESTDBG_INJECT_BP : KVM_GUESTDBG_INJECT_DB
    const stepping = this.#actions.get(index) === 'step'
    this.#setGuestDebug(this.target.vcpus[index]!, stepping, inject)
  }

  #setGuestDebug(vcpu: VcpuFd, step: boolean, inject = 0): void {
    let control = inject
    if (this.breakpoints.size > 0 && this.#instruction.port === undefined) {
      control |= KVM_GUESTDBG_USE_SW_BP
    }
    if (this.registers.used) control |= KVM_GUESTDBG_USE_HW_BP
    if (step)
      control |= KVM_GUESTDBG_SINGLESTEP | (this.support.blockIrq ? KVM_GUESTDBG_BLOCKIRQ : 0)
    vcpu.setGuestDebug({
      control: control === 0 ? 0 : control | KVM_GUESTDBG_ENABLE,
      debugreg: this.registers.encode(),
    })
  }

  /** A vCPU writes to the breakpoints' port, and stands at that instruction or, as KVMs differ, behind it. */
  #wroteToPort(index: number): void {
    const vcpu = this.target.vcpus[index]!
    const { rip } = vcpu.getRegs()
    const { base } = vcpu.getSregs().cs
    const length = BigInt(this.#instruction.bytes.length)
    const start = [rip, rip - length].find((at) => this.#isBreakpoint(index, base + at))
    if (start === undefined) return
    this.#goBack.set(index, start)
    this.#stopAll({ kind: 'software-breakpoint', vcpu: index })
  }

  #stopAll(stop: Stop): void {
    if (this.#state === 'stopping' && stop.kind === 'watchpoint') this.#pending.push(stop)
    if (this.#state !== 'running') return
    this.#state = 'stopping'
    this.#stop = stop
    void this.target.hold().then(() => this.#stopped())
  }

  #stopped(): void {
    if (this.#state !== 'stopping') return
    this.#state = 'held'
    this.#stepBack()
    this.#onStop(this.#stop!)
  }

  #stepBack(): void {
    for (const [index, rip] of this.#goBack) {
      const vcpu = this.target.vcpus[index]!
      vcpu.setRegs(vcpu.getRegs().assign({ rip }))
    }
    this.#goBack.clear()
  }
}
