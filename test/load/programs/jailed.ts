// Runs a machine for a while, as one does in a jail.
import { FileDisk } from '../../../lib/index.js'
import { Witness } from '../../hostile/witness.js'

const witness = await Witness.start({ disks: [new FileDisk(process.argv[2]!)] })
for (let i = 0; i < 5; i++) await witness.expectProgress()
await witness.close()
process.stdout.write('verified\n')
