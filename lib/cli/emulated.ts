/** Set for what runs inside the emulated host, which never starts another. */
const INSIDE = 'NODE_KVM_EMULATED_HOST'

/**
 * Runs this very command in the emulated KVM host if it is wanted or needed, saying so in one line.
 * @returns its exit status, or `undefined` if this machine is to run the guest itself
 */
export async function runHere(
  when: 'auto' | 'always' | 'never',
  shareReadWrite: readonly string[],
  usable: () => Promise<{ usable: boolean; why: string }>,
): Promise<number | undefined> {
  if (when === 'never' || process.env[INSIDE]) return undefined
  const { usable: fine, why } = await usable()
  if (fine && when === 'auto') return undefined
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
