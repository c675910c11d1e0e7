// A disk whose file may not grow past a limit of the process: what the guest is told.
import type { BlockEngineChoice } from '../../../lib/devices.js'
import { createGuestMemory } from '../../../lib/memory/mapping.js'
import { BlockRig } from '../../helpers/block-driver.js'

const [path, engine] = process.argv.slice(2)
// Not in a file of its own, which the limit is for too.
const memory = createGuestMemory([{ guestAddress: 0, size: 0x20_0000 }], { kind: 'anonymous' })
const rig = await BlockRig.file(path!, memory, { engine: engine as BlockEngineChoice })
rig.driver.start([], 16)
const data = [{ address: 0x8_0000, length: 4096 }]
const statuses: number[] = []
for (const sector of [0, 1024, 8]) statuses.push((await rig.request(1, sector, data)).status)
process.stdout.write(`${JSON.stringify(statuses)}\n`)
await rig.close()
