import { expect, it } from 'vitest'
import { runScript } from '../helpers/guest-script.js'
import { sanitized } from '../helpers/process-state.js'

/** The modes of seccomp of this process's threads, by their names. */
const modes = `
  const { readdirSync, readFileSync } = require('node:fs')
  const modes = () => readdirSync('/proc/self/task').map((id) => {
    const status = readFileSync('/proc/self/task/' + id + '/status', 'utf8')
    return [/Name:\\t(.*)/.exec(status)[1], /Seccomp:\\t(.*)/.exec(status)[1], /NoNewPrivs:\\t(.*)/.exec(status)[1]].join(' ')
  })
`
if (sanitized) console.log('the filter is not tested: an addon with a sanitizer has none')

it.skipIf(sanitized)(
  'vCPU threads are filtered before they run the guest, and no other thread is',
  async () => {
    const { stdout, status } = await runScript(`${modes}
    const { channel } = guest(reading, reading)
    const seen = new Set()
    channel.run(answer(channel, (index) => {
      // Until both run their guest, a thread may not have come to its filter.
      if (seen.add(index).size < 2) return false
      const all = modes()
      console.log(JSON.stringify(all.filter((mode) => mode.startsWith('vcpu'))))
      console.log(all.filter((mode) => !/^(vcpu|kvm-)/.test(mode) && !mode.endsWith(' 0 0')).join() || 'none')
      return true
    }))`)
    expect(status).toBe(0)
    const [vcpus, others] = stdout.trim().split('\n')
    expect(JSON.parse(vcpus!).sort()).toEqual(['vcpu0 2 1', 'vcpu1 2 1'])
    expect(others).toBe('none')
  },
)
