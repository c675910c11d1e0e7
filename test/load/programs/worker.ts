// A thread that runs a machine under I/O, and says when it does.
import { parentPort } from 'node:worker_threads'
import { Witness } from '../../hostile/witness.js'

const witness = await Witness.start()
parentPort?.postMessage('ready')
parentPort?.on('message', async () => {
  await witness.expectProgress()
  parentPort?.postMessage('ready')
})
