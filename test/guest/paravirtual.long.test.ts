import { expect, it } from 'vitest'
import { Kvm } from '../../lib/kvm.js'
import { guestInitramfs } from '../../lib/testing.js'
import { exec, StockGuest, stockKernel } from './stock-guest.js'

/** KVM's leaf of features, and of what a guest may register the MSR for it (cpuid.rst, msr.rst). */
const FEATURES_LEAF = 0x4000_0001
const REGISTERED = [
  // By the interrupt that tells of a page that is there, with the vector that Linux takes for it.
  { name: 'asynchronous page faults', bits: [4, 14], msr: 0x4b56_4d02, mask: 0b1001n },
  { name: 'the vector for them', bits: [4, 14], msr: 0x4b56_4d06, mask: 0xf3n },
  { name: 'steal time', bits: [5], msr: 0x4b56_4d03, mask: 1n },
  { name: 'paravirtual EOI', bits: [6], msr: 0x4b56_4d04, mask: 1n },
  { name: 'kvmclock', bits: [3], msr: 0x4b56_4d01, mask: 1n },
]
const CPUS = 2

it('each vCPU registers for what this KVM has for guests, and sees the time that another took', async () => {
  using kvm = Kvm.open()
  const leaf = kvm.getSupportedCpuid().find((entry) => entry.function === FEATURES_LEAF)
  const offered = REGISTERED.filter(({ bits }) => bits.every((bit) => (leaf!.eax >>> bit) & 1))
  const missing = REGISTERED.filter((each) => !offered.includes(each)).map(({ name }) => name)
  if (missing.length > 0) console.log(`this KVM has no ${missing.join(', ')}`)
  const stealing = offered.some(({ name }) => name === 'steal time')

  const { asset } = await stockKernel()
  const initrd = await guestInitramfs(asset, { modules: ['msr'] })
  const script = `
    msr() { dd if=/dev/cpu/$1/msr bs=8 count=1 iflag=skip_bytes skip=$2 2>/dev/null | xxd -p; }
    for cpu in 0 1; do
      for number in ${offered.map(({ msr }) => msr).join(' ')}; do
        echo "msr $cpu $number $(msr $cpu $number)"
      done
    done
    steal() { awk "/^cpu$1 / { print \\$9 }" /proc/stat; }
    if ${stealing}; then
      for cpu in 0 1; do taskset -c $cpu sh -c 'while :; do :; done' & done
      until [ $(steal 0) -gt 0 ] && [ $(steal 1) -gt 0 ]; do sleep 1; done
      echo "both were stolen from"
    fi`
  // Both on one processor of the host's: when both have much to do, each waits for the other.
  const options = { initrd, cpus: CPUS, cpuAffinity: [[0], [0]] }
  await using guest = await StockGuest.start(exec(script), options)
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
  const said = [...guest.log.matchAll(/^msr (\d) (\d+) ([\da-f]{16})\r$/gm)]
  const values = said.map(([, cpu, msr, bytes]) => ({
    cpu: Number(cpu),
    msr: Number(msr),
    value: Buffer.from(bytes!, 'hex').readBigUInt64LE(),
  }))
  expect(values).toHaveLength(CPUS * offered.length)
  for (const { cpu, msr, value } of values) {
    const { name, mask } = offered.find((each) => each.msr === msr)!
    expect(value & mask, `${name} of vCPU ${cpu}`).toBe(mask)
  }
  if (stealing) expect(guest.log).toContain('both were stolen from\r\n')
})
