export { busyboxAsset } from './assets/busybox.js'
export type { AssetOptions, Report } from './assets/cache.js'
export { cacheDirectory } from './assets/cache.js'
export { type DiskImageOptions, ext4Image } from './assets/disk-image.js'
export { type GuestInitramfsOptions, guestInitramfs } from './assets/guest-initramfs.js'
export {
  KERNEL_SERIES,
  type KernelAsset,
  type KernelFlavour,
  type KernelSeries,
  kernelAsset,
} from './assets/kernel.js'
export { prepareGuestAssets } from './assets/prepare.js'
export {
  type EmulatedHostResult,
  INSIDE_VARIABLE,
  runInEmulatedHost,
} from './emulated-host/emulated-host.js'
export type { EmulatedHostOptions } from './emulated-host/options.js'
export { type CpioEntry, writeCpio } from './initramfs/cpio.js'
export { GUEST_MODULES, guestInit, INIT_MARKER } from './initramfs/guest-init.js'
export { buildInitramfs, type InitramfsOptions } from './initramfs/initramfs.js'
export { type KernelModule, type ModuleSource, resolveModules } from './initramfs/module-order.js'
