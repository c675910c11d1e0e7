// What `npm run verify:block` is made of.

export { RINGS, verifyBlock } from './block-operations.js'
export { verifyWithFio } from './fio-on-device.js'
export { ENGINES } from './verified-disks.js'
