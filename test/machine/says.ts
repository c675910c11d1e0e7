import { VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import * as guest from './tiny-guest.js'

/** The bytes that a guest of this code says, with its devices on virtio-mmio unless told; it powers off then. */
export async function says(
  options: Partial<VirtualMachineOptions>,
  ...code: number[][]
): Promise<number[]> {
  const kernel = guest.kernel(...code, guest.powerOff)
  await using vm = await VirtualMachine.create({
    kernel,
    memory: '32M',
    transport: 'mmio',
    ...options,
  })
  await vm.start()
  const bytes: number[] = []
  for await (const chunk of vm.console.output) bytes.push(...(chunk as Buffer))
  return bytes
}
