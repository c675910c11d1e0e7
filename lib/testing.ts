export { busyboxAsset } from './assets/busybox.js'
export type { AssetOptions, Report } from './assets/cache.js'
export { cacheDirectory } from './assets/cache.js'
export {
  type KernelAsset,
  type KernelFlavour,
  type KernelSeries,
  kernelAsset,
} from './assets/kernel.js'
export {
  type EmulatedHostOptions,
  type EmulatedHostResult,
  INSIDE_VARIABLE,
  runInEmulatedHost,
} from './emulated-host/emulated-host.js'
export { type CpioEntry, writeCpio } from './initramfs/cpio.js'
export { buildInitramfs, type InitramfsOptions } from './initramfs/initramfs.js'
export { type KernelModule, type ModuleSource, resolveModules } from './initramfs/module-order.js'
