/**
 * Folders and container images as root file systems of virtual machines.
 * @module
 */
export type { RootfsProcess } from './rootfs/build-image.js'
export { openRootfs, type Rootfs, type RootfsOptions } from './rootfs/open-rootfs.js'
