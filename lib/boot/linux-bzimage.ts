import { COMMAND_LINE_SIZE, COMMAND_LINE_START } from '../arch/x86-64/layout.js'
import { hex } from '../util/bits.js'
import { refuseModules } from './boot-modules.js'
import type { BootProtocol, BootRequest } from './boot-protocol.js'
import { encodeCommandLine } from './command-line.js'
import { placeInitrd } from './initrd.js'
import { linuxEntry64 } from './linux-entry.js'
import { ENTRY_64, HEADER, HEADER_MAGIC } from './linux-setup.js'
import { parseSetupHeader } from './setup-header.js'
import { writeZeroPage } from './zero-page.js'

/** A bzImage by the 64-bit boot protocol, version 2.12 and later (Linux Documentation/arch/x86/boot.rst). */
export const linuxBzImage: BootProtocol = {
  name: 'a Linux bzImage',

  recognizes(head) {
    const view = new DataView(head.buffer, head.byteOffset, head.byteLength)
    return head.length >= HEADER + 4 && view.getUint32(HEADER, true) === HEADER_MAGIC
  },

  load(request: BootRequest) {
    const { memory, kernel, initrd, commandLine, rsdp } = request
    refuseModules(request, this.name)
    const header = parseSetupHeader(kernel)
    const { loadAddress, kernelSize, memoryNeeded } = header
    if (memory.findRegion(loadAddress, memoryNeeded) === undefined) {
      const { guestAddress, size } = memory.regions[0]!
      throw kernel.error(
        `needs ${memoryNeeded} bytes from ${hex(loadAddress)} on`,
        memoryNeeded,
        `at most ${Math.max(0, guestAddress + size - loadAddress)}, the memory that is there`,
      )
    }
    const limit = Math.min(header.commandLineLimit, COMMAND_LINE_SIZE - 1)
    memory.write(COMMAND_LINE_START, encodeCommandLine(commandLine, limit))
    kernel.readInto(memory.view(loadAddress, kernelSize), header.kernelOffset)
    writeZeroPage(memory, header.bytes, {
      commandLineAddress: COMMAND_LINE_START,
      initrd: initrd && placeInitrd(memory, initrd, loadAddress + memoryNeeded, header.initrdMax),
      rsdp,
    })
    return linuxEntry64(memory, loadAddress + ENTRY_64)
  },
}
