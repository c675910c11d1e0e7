import { VmmError } from '../index.js'

/** Set for what runs inside the emulated host, which never starts another. */
const INSIDE = 'NODE_KVM_EMULATED_HOST'

/**
 * Runs this very command in the emulated KVM host if it is wanted or needed, saying so in one line.
 * @param unreachable an option that was given and needs this machine's network
 * @returns its exit status, or `undefined` if this machine is to run the guest itself
 */
export async function runHere(
  when: 'auto' | 'always' | 'never',
  shareReadWrite: readonly string[],
  usable: () => Promise<{ usable: boolean; why: string }>,
  unreachable?: string,
): Promise<number | undefined> {
  if (when === 'never' || process.env[INSIDE]) return undefined
  const { usable: fine, why } = await usable()
  if (fine && when === 'auto') return undefined
  if (unreachable !== undefined) {
    const expected =
      'a KVM of this machine that runs the guest: nothing connects to what is in an emulated host'
    throw new VmmError('ERR_INVALID_OPTION', `${unreachable}: expected ${expected}; ${why}`, {
      option: unreachable,
      expected,
    })
  }
  process.stderr.write(`node-kvm: ${fine ? 'as asked' : why}; using the emulated KVM host (slow)\n`)
  const { runInEmulatedHost } = await import('../testing.js')
  const result = await runInEmulatedHost(
    [process.execPath, ...process.execArgv, ...process.argv.slice(1)],
    {
      env: { [INSIDE]: '1' },
      shareReadWrite: [...shareReadWrite],
    },
  )
  return result.exitCode
}
