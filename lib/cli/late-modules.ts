/** Modules of Node's that most runs never use, or only once the guest runs. To load them takes as long as to load ours. */
const LATE: ReadonlySet<string> = new Set([
  'node:child_process',
  'node:crypto',
  'node:fs/promises',
  'node:net',
  'node:stream/promises',
  'node:timers/promises',
  'node:worker_threads',
  'node:zlib',
])

/** A `require` that loads some of Node's modules when something in them is first used. */
export function lateModules(require: NodeJS.Require): NodeJS.Require {
  const late = (id: string): unknown =>
    LATE.has(id) ? standIn(() => require(id) as object) : require(id)
  return Object.assign(late, require)
}

/** What shows the properties of a module that is loaded when one is asked for. */
function standIn(load: () => object): object {
  return new Proxy(
    {},
    {
      get: (_, name) => Reflect.get(load(), name) as unknown,
      has: (_, name) => Reflect.has(load(), name),
      ownKeys: () => Reflect.ownKeys(load()),
      getOwnPropertyDescriptor: (_, name) => {
        const found = Reflect.getOwnPropertyDescriptor(load(), name)
        // A proxy may not say of what its own object lacks that it cannot be changed.
        return found && { ...found, configurable: true }
      },
    },
  )
}
