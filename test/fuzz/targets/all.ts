import * as archives from './archives.js'
import * as devices from './devices.js'
import * as loaders from './loaders.js'
import * as peers from './peers.js'
import * as registers from './registers.js'
import { packedRing, splitRing } from './rings.js'
import type { FuzzTarget } from './target.js'
import * as texts from './texts.js'

/** Every target by the name that `npm run fuzz` knows it by. */
export const targets: Readonly<Record<string, FuzzTarget>> = {
  'split-ring': splitRing,
  'packed-ring': packedRing,
  'virtio-mmio': devices.mmio,
  'virtio-pci': registers.virtioPci,
  pci: registers.pci,
  block: devices.block,
  net: devices.net,
  console: devices.consoles,
  vsock: devices.vsock,
  balloon: devices.balloon,
  mem: devices.mem,
  rng: devices.rng,
  'virtio-fs': devices.fs,
  share: peers.share,
  serial: registers.serial,
  chips: registers.chips,
  'fw-cfg': registers.fwCfg,
  pflash: registers.pflash,
  bzimage: loaders.bzimage,
  elf: loaders.elf,
  multiboot: loaders.multiboot,
  vmlinux: loaders.vmlinux,
  zstd: loaders.zstd,
  lz4: loaders.lz4,
  'kernel-module': loaders.kernelModule,
  initrd: loaders.initrd,
  cpio: archives.cpio,
  tar: archives.tarReader,
  rootfs: archives.rootfs,
  oci: archives.oci,
  agent: peers.agent,
  gdb: peers.gdb,
  configuration: texts.configuration,
  'byte-size': texts.byteSize,
  frames: texts.frames,
}
