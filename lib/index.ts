/**
 * Virtual machines for Node programs.
 * @module
 */
export type {
  CopyInOptions,
  CopyOptions,
  CopyOutOptions,
  CopySummary,
} from './agent/copy-options.js'
export type { ExecOptions, ExecResult } from './agent/exec.js'
export type { SpawnOptions } from './agent/exec-request.js'
export type { GuestAgent, ReadFileOptions, WriteFileOptions } from './agent/guest-agent.js'
export type { GuestExit, GuestProcess } from './agent/guest-process.js'
export type { LimitOptions } from './agent/limit.js'
export type { CpuTopology } from './arch/x86-64/cpu-topology.js'
export { CustomDisk, type DiskProvider } from './backends/block/custom-disk.js'
export type { DiskFault, DiskOperation } from './backends/block/disk-fault.js'
export { FaultyDisk } from './backends/block/faulty-disk.js'
export { FileDisk, type FileDiskOptions } from './backends/block/file-disk.js'
export { MemoryDisk, type MemoryDiskOptions } from './backends/block/memory-disk.js'
export { OverlayDisk, type OverlayDiskOptions } from './backends/block/overlay-disk.js'
export type { Capture, CaptureOptions, CaptureTarget } from './backends/net/net-backend.js'
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
export type { FlatMode, FlatOptions } from './boot/flat.js'
export type { BalloonStatistics } from './devices/virtio/balloon/virtio-balloon.js'
export type { BlockLimitChange } from './devices/virtio/block/virtio-block.js'
export type { NetLimitChange } from './devices/virtio/net/virtio-net.js'
export type { Rate, RateLimit } from './devices/virtio/rate-limiter.js'
export {
  type Diagnosis,
  diagnose,
  formatDiagnosis,
  kvmUsable,
} from './doctor/diagnosis.js'
export type { HostFeature } from './doctor/host-features.js'
export type { KvmFinding, KvmState } from './doctor/kvm-probe.js'
export { type ErrorCode, type ErrorDetails, errorCodes, KvmError, VmmError } from './errors.js'
export { type JailLimit, type JailOptions, jailCommand, jailProgram } from './jail/jail.js'
export type { AttachContext, AttachedDevice } from './machine/attached-devices.js'
export type { ModuleConfig, ModuleOptions } from './machine/boot-options.js'
export type { VmConsole } from './machine/console.js'
export type { CpuModelName, CpuOptions, TopologyOptions } from './machine/cpu-options.js'
export type {
  VmBalloon,
  VmConsolePort,
  VmDebugConsole,
  VmDisk,
  VmNet,
  VmVirtioConsole,
  VmVsock,
  VsockListener,
  VsockStream,
} from './machine/device-handles.js'
export type {
  AgentOptions,
  BalloonOptions,
  DiskConfig,
  DiskOptions,
  NetConfig,
  NetOptions,
  ShareConfig,
  ShareOptions,
  VirtioConsoleDeviceOptions,
} from './machine/device-options.js'
export type { DeviceStatistics } from './machine/device-stats.js'
export type { FirmwareConfig, FirmwareOptions } from './machine/firmware-options.js'
export type { MachineConfig } from './machine/machine-config.js'
export { machineFromJson, readMachineFile } from './machine/machine-file.js'
export type { VirtualMachineOptions } from './machine/machine-options.js'
export type {
  HostNodes,
  HostNodesOptions,
  MemoryBacking,
  MemoryKind,
  MemoryOptions,
} from './machine/memory-options.js'
export type { NumaNode, NumaNodeOptions } from './machine/numa-options.js'
export type {
  PlatformDeviceConfig,
  PlatformDeviceOptions,
} from './machine/platform-device-options.js'
export type { WaitLimits } from './machine/stop-limits.js'
export { describeStopReason, type StopReason } from './machine/stop-reason.js'
export type { VmVirtioMem } from './machine/virtio-mem.js'
export type { VirtioMemConfig, VirtioMemDeviceOptions } from './machine/virtio-mem-options.js'
export {
  VirtualMachine,
  type VirtualMachineEvents,
  type VmState,
} from './machine/virtual-machine.js'
export type { GdbAddress, GdbListenOptions, GdbStub, VmGdb } from './machine/vm-gdb.js'
export type { Log } from './machine/vm-log.js'
export type {
  AccessStatistics,
  ExitStatistics,
  KvmStatistics,
  VcpuStatistics,
  VmStatistics,
} from './machine/vm-stats.js'
export { describeWarning, type VmWarning } from './machine/vm-warning.js'
export { GuestMemory } from './memory/guest-memory.js'
export { metricsText } from './observe/metrics.js'
export {
  type MetricsServer,
  type MetricsServerOptions,
  serveMetrics,
} from './observe/metrics-server.js'
export { Trace, type TraceOptions } from './observe/trace.js'
export { formatByteSize, parseByteSize } from './util/byte-size.js'
export {
  EXIT_CHANNEL,
  type ExitMessage,
  REQUEST_CHANNEL,
  type RequestMessage,
} from './util/diagnostics.js'
