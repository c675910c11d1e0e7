import { closeSync } from 'node:fs'
import { expect, it } from 'vitest'
import { type Binding, binding, type NativeExitChannel } from '../../lib/binding.js'
import { KvmError, VmmError } from '../../lib/errors.js'
import { holdAnchor } from '../helpers/payloads.js'
import { collect, openFds } from '../helpers/process-state.js'
import { type Native, RandomArguments } from './random-arguments.js'

/**
 * Random calls in random order on every class of the addon, with random arguments: none may do more than throw.
 * NODE_KVM_FUZZ_SECONDS and NODE_KVM_FUZZ_SEED choose how long and which; meant to be run under AddressSanitizer too.
 */
const seconds = Number(process.env.NODE_KVM_FUZZ_SECONDS ?? 2)
const seed = Number(process.env.NODE_KVM_FUZZ_SEED ?? Date.now() % 2 ** 31)

const CLASSES: (keyof Binding)[] = [
  'Kvm',
  'Kvm',
  'EventFd',
  'Mapping',
  'Mapping',
  'AddressSpace',
  'ExitChannel',
  'BlockEngine',
  'Tap',
]
const FUNCTIONS = ['findMapping', 'lockFile', 'fileSize', 'fallocateWorks'] as const

/** What a call may throw, and nothing else. */
const isKnown = (error: unknown) =>
  error instanceof KvmError || error instanceof VmmError || error instanceof TypeError

it(
  `survives random calls (seed ${seed}, ${seconds} s)`,
  async () => {
    holdAnchor()
    const addon = binding()
    const file = addon.memoryFile(0x20000)
    const pool: Native[] = []
    const args = new RandomArguments(seed, addon, pool, file)
    const { random } = args
    const before = openFds()
    let calls = 0
    /** By class and method, those that did not throw. */
    const done = new Map<string, number>()
    const strange: unknown[] = []

    const attempt = (call: () => void): void => {
      calls++
      try {
        call()
      } catch (error) {
        if (!isKnown(error)) strange.push(error)
      }
    }

    /** Takes the exits there are, and lets most vCPUs go on. */
    const answer = (channel: NativeExitChannel) => () =>
      attempt(() => {
        let index = channel.next(-1)
        for (let i = 0; i < 20 && index >= 0; i++) {
          if (args.chance(4)) channel.hold(index)
          index = channel.next(args.chance(4) ? -1 : index)
        }
      })

    const keep = (value: unknown): void => {
      if (typeof value === 'object' && value !== null && 'close' in value)
        pool.push(value as Native)
    }

    const create = (): void => {
      const name = args.pick(CLASSES)
      const Class = addon[name] as new (...values: unknown[]) => unknown
      keep(new Class(...(args.chance(4) ? args.list() : args.construction(name))))
    }

    /** A function of no class. */
    const callFunction = (): void => {
      const name = args.pick(FUNCTIONS)
      let values = args.fitting(name)!
      if (args.chance(4)) {
        values = args.list()
        // Any other number may be a descriptor of the test runner's.
        if (name !== 'findMapping') values[0] = args.odd()
      }
      keep(Reflect.apply(addon[name] as (...values: unknown[]) => unknown, undefined, values))
    }

    const call = (object: Native): void => {
      const own = Object.keys(object)
      const names = Object.getOwnPropertyNames(Object.getPrototypeOf(object)).filter(
        (name) =>
          name !== 'constructor' &&
          name !== 'close' &&
          name !== 'setOwner' && // it has an interface outlive the test
          (name !== 'stop' || args.chance(20)),
      )
      const className = (object.constructor as { name: string }).name
      const name = own.length > 0 && args.chance(6) ? args.pick(own) : args.pick(names)
      if (name === 'run' && 'runPage' in object && random(50) > 0) {
        // Most random guests never exit: this one returns at once.
        new Uint8Array(object.runPage as ArrayBuffer)[1] = 1
      }
      let values = (args.random(4) > 0 && args.fitting(name, className)) || args.list()
      if (name === 'run' && object instanceof addon.ExitChannel && random(4) > 0) {
        values = [answer(object as NativeExitChannel)]
      }
      const value = object[name]
      keep(
        typeof value === 'function'
          ? Reflect.apply(value, random(30) ? object : args.pick(pool), values)
          : value,
      )
      const what = `${className}.${name}`
      done.set(what, (done.get(what) ?? 0) + 1)
    }

    const close = (object: Native): void => {
      Reflect.apply(object.close as () => void, object, [])
    }

    const step = (): void => {
      if (pool.length < 3 || args.chance(15)) create()
      else if (args.chance(100)) callFunction()
      else if (args.chance(300)) close(args.pick(pool))
      else if (pool.length > 60) close(pool.splice(random(pool.length), 1)[0]!)
      else call(args.pick(pool))
    }

    const deadline = Date.now() + seconds * 1000
    while (Date.now() < deadline) {
      for (let i = 0; i < 200; i++) attempt(step)
      // Lets finalizers, watches and closed handles have their turn.
      await new Promise((resolve) => setImmediate(resolve))
    }
    for (const object of pool.splice(0)) attempt(() => close(object))
    expect(strange).toEqual([])
    expect(calls).toBeGreaterThan(0)
    // It would find little if its calls were refused at the door.
    if (seconds >= 2) expect(done.size).toBeGreaterThan(40)
    if (process.env.NODE_KVM_FUZZ_VERBOSE) console.log(Object.fromEntries([...done].sort()))
    expect(await collect(() => openFds() <= before)).toBe(true)
    closeSync(file)
  },
  seconds * 1000 + 120_000,
)
