// A suite that tests a stock kernel, for vitest: one boot, and a test for each property that the guest has looked at.
// npx vitest run examples/09-kernel-tests.test.ts, or without such a KVM: npx node-kvm host -- npx vitest run …
import { bootTest, kernelAsset, ktapTests } from 'node-kvm/testing'
import { bootMatchers } from 'node-kvm/testing/vitest'
import { describe, expect, it } from 'vitest'

expect.extend(bootMatchers)

const script = `
echo 'KTAP version 1'
n=0
check() { # name, command…
  n=$((n + 1)); name=$1; shift
  if "$@"; then echo "ok $n $name"; else echo "not ok $n $name"; fi
}
aslr() { [ "$(for i in 1 2 3 4 5 6; do grep stack /proc/self/maps; done | sort -u | wc -l)" -gt 1 ]; }
null() { [ "$(cat /proc/sys/vm/mmap_min_addr)" -ge 4096 ]; }
clock() { a=$(date +%s); [ "$a" -gt 1600000000 ]; }
tmpfs() { mount -t tmpfs -o size=64k tmpfs /mnt && ! dd if=/dev/zero of=/mnt/x bs=4k count=17 2>/dev/null; }
check stack.randomized aslr
check mmap.null_page_refused null
check clock.set clock
check tmpfs.size_is_kept tmpfs
echo "1..$n"
`

const boot = await bootTest({ kernel: await kernelAsset('6.12'), run: script, name: 'stock 6.12' })
const result = await boot.result
await boot.close()

describe('a stock kernel', () => {
  it('boots without a complaint', () => expect(result).toBoot())
  it('passes its tests', () => expect(result).toHavePassedKtap())
  ktapTests(result.ktap, { describe, it })
})
