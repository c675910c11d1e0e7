import { expect, it, onTestFailed } from 'vitest'
import { FileDisk, VirtualMachine, type VirtualMachineOptions } from '../../lib/index.js'
import { firmwareAsset, grubDisk, INIT_MARKER, kernelAsset } from '../../lib/testing.js'

/** A machine and all that it says. */
async function start(options: VirtualMachineOptions) {
  const vm = await VirtualMachine.create(options)
  let text = ''
  vm.console.output.setEncoding('latin1').on('data', (chunk: string) => {
    text += chunk
  })
  onTestFailed(() => {
    process.stdout.write(`The guest's last words:\n${text.slice(-4000)}\n`)
  })
  await vm.start()
  const ended = vm.stopped.then(async (reason) => {
    if (!vm.console.output.readableEnded) {
      await new Promise((resolve) => vm.console.output.once('end', resolve).once('close', resolve))
    }
    return reason
  })
  return { vm, ended, text: () => text, [Symbol.asyncDispose]: () => vm.close() }
}

it('SeaBIOS starts GRUB from a disk on PCI, and GRUB starts Linux', async () => {
  const { seabios } = await firmwareAsset()
  const disk = await grubDisk(await kernelAsset('6.12'))
  await using guest = await start({
    firmware: seabios,
    memory: '384M',
    disks: [new FileDisk(disk, { readOnly: true })],
  })
  expect(await guest.ended).toEqual({ kind: 'shutdown' })
  expect(guest.text()).toContain('SeaBIOS (version')
  expect(guest.text()).toContain('GRUB starts the kernel')
  expect(guest.text()).toContain(INIT_MARKER)
  expect(guest.text()).not.toMatch(/ACPI Error|ACPI BIOS Error|ACPI Warning/)
})
