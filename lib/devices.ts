/**
 * Interfaces and building blocks for people who write a device, a transport or a backend.
 * @module
 */

export type { CpuPlace } from './arch/x86-64/cpuid.js'
export type { EntryState } from './arch/x86-64/entry-state.js'
export * from './backends/block/block-backend.js'
export { CustomDisk, type DiskProvider } from './backends/block/custom-disk.js'
export type { DiskFault, DiskOperation } from './backends/block/disk-fault.js'
export { FaultyDisk } from './backends/block/faulty-disk.js'
export type { BlockEngineChoice } from './backends/block/file-channel.js'
export { FileDisk, type FileDiskOptions } from './backends/block/file-disk.js'
export { MemoryDisk, type MemoryDiskOptions } from './backends/block/memory-disk.js'
export { OverlayDisk, type OverlayDiskOptions } from './backends/block/overlay-disk.js'
export * from './backends/char/char-backend.js'
export { ConsoleInput, type ConsoleInputOptions } from './backends/char/console-input.js'
export { ConsoleOutput, type ConsoleOutputOptions } from './backends/char/console-output.js'
export * from './backends/net/net-backend.js'
export { Passt, type PasstEvents, type PasstExit, type PasstOptions } from './backends/net/passt.js'
export type { PortForward } from './backends/net/passt-options.js'
export {
  StreamNet,
  type StreamNetEvents,
  type StreamNetOptions,
  type StreamSource,
} from './backends/net/stream-net.js'
export { Tap, type TapOptions } from './backends/net/tap.js'
export {
  SwitchPort,
  type SwitchPortOptions,
  VirtualSwitch,
  type VirtualSwitchEvents,
} from './backends/net/virtual-switch.js'
export type { BootProtocol } from './boot/boot-protocol.js'
export { detectBootProtocol } from './boot/detect.js'
export { ImageFile } from './boot/image-file.js'
export { type AddressSpaceKind, Bus, type BusObserver, type BusRange } from './bus/bus.js'
export * from './bus/bus-device.js'
export { type CauseView, type InterruptCause, NO_CAUSE, OwnCause } from './bus/interrupt-cause.js'
export { I8042, I8042_PORTS } from './devices/legacy/i8042.js'
export * from './devices/pci/abi.js'
export type { AddressWindow, Bar, BarOptions } from './devices/pci/address-window.js'
export { type AddressPools, assignAddresses } from './devices/pci/assign-addresses.js'
export { PCI_CONFIG_PORTS, PciConfigPorts } from './devices/pci/config-ports.js'
export { ConfigSpace } from './devices/pci/config-space.js'
export { Ecam } from './devices/pci/ecam.js'
export { HostBridge } from './devices/pci/host-bridge.js'
export { IsaBridge } from './devices/pci/isa-bridge.js'
export type { Msix, MsixPlace } from './devices/pci/msix.js'
export { type ConfigAddress, PciBus, type PciBusOptions } from './devices/pci/pci-bus.js'
export { PciDevice, type PciIdentity, type PciSlot } from './devices/pci/pci-device.js'
export type { AddressRange, BridgeRanges } from './devices/pci/window-decoder.js'
export { UART_PORTS } from './devices/serial/registers.js'
export { Uart16550A } from './devices/serial/uart-16550a.js'
export * from './devices/virtio/abi.js'
export {
  type BalloonStatistics,
  VirtioBalloon,
  type VirtioBalloonOptions,
} from './devices/virtio/balloon/virtio-balloon.js'
export {
  type BlockLimitChange,
  VirtioBlock,
  type VirtioBlockCounters,
  type VirtioBlockOptions,
} from './devices/virtio/block/virtio-block.js'
export {
  VirtioConsole,
  type VirtioConsoleOptions,
} from './devices/virtio/console/virtio-console.js'
export {
  type NetLimitChange,
  VirtioNet,
  type VirtioNetCounters,
  type VirtioNetOptions,
} from './devices/virtio/net/virtio-net.js'
export { DescriptorChain } from './devices/virtio/queue/descriptor-chain.js'
export { drainQueue, type QueueService, type Virtqueue } from './devices/virtio/queue/virtqueue.js'
export { type Rate, type RateLimit, RateLimiter } from './devices/virtio/rate-limiter.js'
export { VirtioRng, type VirtioRngOptions } from './devices/virtio/rng/virtio-rng.js'
export {
  DeviceControl,
  type DeviceControlEvents,
  type DeviceControlOptions,
} from './devices/virtio/transport/device-control.js'
export type {
  TransportCounters,
  TransportOptions,
} from './devices/virtio/transport/transport-options.js'
export * from './devices/virtio/transport/virtio-mmio.js'
export { type VirtioPciOptions, VirtioPciTransport } from './devices/virtio/transport/virtio-pci.js'
export * from './devices/virtio/virtio-device.js'
export { UnixVsockBridge } from './devices/virtio/vsock/unix-vsock-bridge.js'
export {
  VirtioVsock,
  type VirtioVsockOptions,
  type VsockListener,
} from './devices/virtio/vsock/virtio-vsock.js'
export { VsockStream } from './devices/virtio/vsock/vsock-stream.js'
export { IoctlIrqLine } from './interrupt/ioctl-irq.js'
export * from './interrupt/irq-line.js'
export { IrqfdLine } from './interrupt/irqfd.js'
export type { RunEnding } from './machine/run-ending.js'
export { RunLoop, type RunLoopOptions, type VcpuCounters } from './machine/run-loop.js'
export { enterAt, setUpVcpu } from './machine/vcpu-setup.js'
