// Runs a machine whose guest writes 4 KiB to a disk, flushes, reads and compares, over and over; says how many rounds it
// has done. Ends as its second argument says.
import { writeSync } from 'node:fs'
import { FileDisk } from '../../../lib/index.js'
import { Witness } from '../../hostile/witness.js'

const [path, ending, unixSocket] = process.argv.slice(2)
const witness = await Witness.start({
  disks: [new FileDisk(path!)],
  ...(unixSocket && { vsock: { unixSocket } }),
})
witness.vm.console.output.resume()
writeSync(1, 'ready\n')

/** Also by the guest's own count, for a kill at any moment: what is said here was flushed. */
const report = setInterval(() => writeSync(1, `${witness.rounds}\n`), 1)
const endings: Record<string, () => void> = {
  exit: () => process.exit(7),
  throw: () => {
    throw new Error('on purpose')
  },
  abort: () => process.abort(),
  close: () => {
    clearInterval(report)
    void witness.close().then(() => {
      process.exitCode = 8
    })
  },
}
process.stdin.once('data', () => {
  process.stdin.destroy()
  endings[ending!]?.()
})
