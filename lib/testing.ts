export { type BootDiskContents, bootDisk } from './assets/boot-disk.js'
export { type Bootables, bootables } from './assets/bootables.js'
export { busyboxAsset } from './assets/busybox.js'
export type { AssetOptions, Report } from './assets/cache.js'
export { cacheDirectory } from './assets/cache.js'
export { DEBIAN_SUITE } from './assets/debian-repository.js'
export { DEBIAN_EXTRA, type DebianSystem, debianSystem } from './assets/debian-system.js'
export { type DiskImageOptions, ext4Image } from './assets/disk-image.js'
export { type GrubDiskOptions, grubDisk } from './assets/grub-disk.js'
export { guestAgentAsset } from './assets/guest-agent.js'
export { type GuestInitramfsOptions, guestInitramfs } from './assets/guest-initramfs.js'
export {
  KERNEL_FLAVOURS,
  KERNEL_SERIES,
  type KernelAsset,
  type KernelFlavour,
  type KernelSeries,
  kernelAsset,
} from './assets/kernel.js'
export {
  type FirmwareAsset,
  firmwareAsset,
  packageFiles,
} from './assets/package-files.js'
export { type PrepareOptions, prepareGuestAssets } from './assets/prepare.js'
export {
  type EmulatedHostResult,
  INSIDE_VARIABLE,
  runInEmulatedHost,
} from './emulated-host/emulated-host.js'
export type { EmulatedHostOptions } from './emulated-host/options.js'
export { type CpioEntry, writeCpio } from './initramfs/cpio.js'
export { GUEST_MODULES, guestInit, INIT_MARKER } from './initramfs/guest-init.js'
export { buildInitramfs, type InitramfsOptions, writeTree } from './initramfs/initramfs.js'
export { type KernelModule, type ModuleSource, resolveModules } from './initramfs/module-order.js'
export { BootConsole, type WaitOptions } from './testing/boot-console.js'
export type { BootTestOptions } from './testing/boot-options.js'
export type { BootFailure, BootResult } from './testing/boot-result.js'
export { BootTest, bootTest } from './testing/boot-test.js'
export {
  findKernelReports,
  KERNEL_REPORT_KINDS,
  type KernelReport,
  type KernelReportKind,
  KernelReportScanner,
} from './testing/kernel-reports.js'
export {
  KtapParser,
  type KtapReport,
  type KtapStatus,
  type KtapTest,
  parseKtap,
} from './testing/ktap.js'
export { ktapTests, type TestRunner } from './testing/ktap-tests.js'
