import { expect, it } from 'vitest'
import { bootTest, kernelAsset } from '../../lib/testing.js'
import { bootMatchers } from '../../lib/vitest.js'

expect.extend(bootMatchers)

// Two boots for all that a stock kernel can be asked.

it('a stock kernel is tested: KTAP from the guest, files, a module, typing, an exit status', async () => {
  const suite = `
    cat <<'END'
KTAP version 1
1..3
END
    check() { n=$((n + 1)); shift; "$@" && echo "ok $n $name" || echo "not ok $n $name"; }
    name=dummy.module; check . grep -q '^dummy ' /proc/modules
    name=file; check . cmp /data/one /data/two
    name=random; check . [ "$(head -c 16 /dev/urandom | wc -c)" = 16 ]
    echo 'type something'
    read line
    echo "it was $line"
    [ "$line" = typed ]`
  await using boot = await bootTest({
    kernel: await kernelAsset('6.12'),
    modules: ['dummy'],
    files: { 'data/one': 'same', 'data/two': Buffer.from('same') },
    run: suite,
    name: 'stock',
  })
  await boot.console.waitFor(/type something\n/)
  boot.send('typed\n')
  await boot.console.waitFor('it was typed')
  const result = await boot.passed()
  expect(result).toBoot()
  expect(result).toHavePassedKtap()
  expect(result.ktap.counts.passed).toBe(3)
  expect(result.exitCode).toBe(0)
})

it('a kernel that panics is recognized, and what it said is the reason', async () => {
  await using boot = await bootTest({
    kernel: await kernelAsset('6.1'),
    commandLine: 'console=ttyS0 panic=-1',
    run: 'echo c >/proc/sysrq-trigger',
    logFolder: false,
  })
  const result = await boot.result
  expect(result.ok).toBe(false)
  expect(result.reason).toEqual({ kind: 'panicked', message: 'sysrq triggered crash' })
  expect(result).toHaveKernelReport('panic')
  await expect(boot.passed()).rejects.toThrow('Kernel panic - not syncing')
})
