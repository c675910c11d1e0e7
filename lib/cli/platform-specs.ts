import { InvalidArgumentError } from 'commander'
import type {
  HostNodesOptions,
  NumaNodeOptions,
  PlatformDeviceOptions,
  VirtioMemDeviceOptions,
} from '../index.js'
import { keyValue, numberList, splitSpec, unknownPart, wholeNumber } from './spec-parts.js'

/** `MAX[,size=SIZE][,block=SIZE][,node=N]` as given to `--virtio-mem`. */
export type VirtioMemSpec = VirtioMemDeviceOptions

/** `SIZE[,cpus=LIST][,distances=LIST][,host=LIST][,policy=POLICY]` as given to `--numa`. */
export type NumaSpec = NumaNodeOptions

/** `MODEL[,expire=WHAT]` as given to `--watchdog`. */
export type WatchdogSpec = Extract<PlatformDeviceOptions['watchdog'], object>

const VIRTIO_MEM_EXPECTED = 'MAX[,size=SIZE][,block=SIZE][,node=N]'
const NUMA_EXPECTED = 'SIZE[,cpus=LIST][,distances=LIST][,host=LIST][,policy=POLICY]'

/**
 * Reads `MAX[,size=SIZE][,block=SIZE][,node=N]`.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseVirtioMemSpec(text: string): VirtioMemSpec {
  const [maxSize = '', ...parts] = splitSpec(text)
  if (!maxSize) throw new InvalidArgumentError(`expected ${VIRTIO_MEM_EXPECTED}`)
  const spec: VirtioMemSpec = { maxSize }
  for (const part of parts) {
    const [key, value] = keyValue(part)
    if (key === 'size' && value) spec.size = value
    else if (key === 'block' && value) spec.blockSize = value
    else if (key === 'node' && value) spec.node = wholeNumber(part, value)
    else throw unknownPart(part, VIRTIO_MEM_EXPECTED)
  }
  return spec
}

/**
 * Reads `SIZE[,cpus=LIST][,distances=LIST][,host=LIST][,policy=POLICY]`, lists being such as `0-3+6`; distances, whose order
 * counts, such as `10+20`.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseNumaSpec(text: string): NumaSpec {
  const [memory = '', ...parts] = splitSpec(text)
  if (!memory) throw new InvalidArgumentError(`expected ${NUMA_EXPECTED}`)
  const spec: NumaSpec = { memory }
  let policy: HostNodesOptions['policy']
  for (const part of parts) {
    const [key, value] = keyValue(part)
    if (!value) throw unknownPart(part, NUMA_EXPECTED)
    else if (key === 'cpus' || key === 'distances') spec[key] = numberList(part, value)
    else if (key === 'host') spec.host = { nodes: numberList(part, value) }
    else if (key === 'policy') policy = value as typeof policy
    else throw unknownPart(part, NUMA_EXPECTED)
  }
  if (policy === undefined) return spec
  if (!spec.host) throw new InvalidArgumentError('policy= goes with host=')
  return { ...spec, host: { ...spec.host, policy } }
}

/**
 * Reads `MODEL[,expire=stop|reset]`. Whether there is such a model is the machine's to say.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseWatchdogSpec(text: string): WatchdogSpec {
  const [model = '', ...parts] = splitSpec(text)
  const spec = { model } as WatchdogSpec
  for (const part of parts) {
    const [key, value] = keyValue(part)
    if (key !== 'expire' || !value) throw unknownPart(part, 'MODEL[,expire=stop|reset]')
    spec.onExpire = value as 'stop' | 'reset'
  }
  return spec
}

/**
 * Reads for each vCPU, between colons, the host CPUs that it may run on: `0:1`, `0-1:2+4`, and nothing for any.
 * @throws InvalidArgumentError naming what is not understood
 */
export function parseAffinitySpec(text: string): number[][] {
  return text.split(':').map((list) => (list === '' ? [] : numberList(text, list)))
}
