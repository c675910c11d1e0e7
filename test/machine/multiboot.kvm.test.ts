import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { VirtualMachine } from '../../lib/index.js'
import { multibootElf, multibootImage } from '../helpers/kernel-images.js'

const folder = mkdtempSync(join(tmpdir(), 'node-kvm-multiboot-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** lodsb; test %al, %al; jz over; out %al, %dx; jmp back: the text at ESI. */
const puts = [0xac, 0x84, 0xc0, 0x74, 0x03, 0xee, 0xeb, 0xf8]
/** mov $'\n', %al; out %al, %dx */
const newline = [0xb0, 0x0a, 0xee]

/** Says its command line and its modules to COM1, if it was started as Multiboot has it, and powers off. */
const program = Uint8Array.from([
  ...[0xba, 0xf8, 0x03, 0, 0], // mov $COM1, %edx
  ...[0x3d, 0x02, 0xb0, 0xad, 0x2b], // cmp $0x2badb002, %eax
  ...[0x75, 0x3c], // jne to the end
  ...[0x8b, 0x73, 0x10, ...puts, ...newline], // mov 16(%ebx), %esi
  ...[0x8b, 0x7b, 0x18], // mov 24(%ebx), %edi
  ...[0x8b, 0x6b, 0x14], // mov 20(%ebx), %ebp
  ...[0x8b, 0x77, 0x08, ...puts], // next: mov 8(%edi), %esi
  ...[0xb0, 0x3a, 0xee], // mov $':', %al; out %al, %dx
  ...[0x8b, 0x37, 0x8b, 0x4f, 0x04, 0x29, 0xf1], // mov (%edi), %esi; mov 4(%edi), %ecx; sub %esi, %ecx
  ...[0xf3, 0x6e, ...newline], // rep outsb
  ...[0x83, 0xc7, 0x10, 0x4d, 0x75, 0xe0], // add $16, %edi; dec %ebp; jnz next
  ...[0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x34, 0x66, 0xef], // PM1a_CNT: S5
  ...[0xeb, 0xfe],
])

it.each([
  ['by its address fields', multibootImage({ code: program })],
  ['as an ELF', multibootElf(program)],
])('a Multiboot kernel, loaded %s, reads its command line and its modules', async (_, image) => {
  const kernel = join(folder, 'hobby')
  const module = join(folder, 'second.bin')
  writeFileSync(kernel, image)
  writeFileSync(module, 'from a file')
  await using vm = await VirtualMachine.create({
    kernel,
    memory: '32M',
    commandLine: 'a=b quiet',
    modules: [{ image: Buffer.from('from bytes'), commandLine: 'first x' }, module],
  })
  await vm.start()
  let said = ''
  for await (const chunk of vm.console.output) said += (chunk as Buffer).toString()
  expect(said).toBe('hobby a=b quiet\nfirst x:from bytes\nsecond.bin:from a file\n')
  expect(await vm.stopped).toEqual({ kind: 'shutdown' })
})

it('names the module that cannot be read', async () => {
  const image = join(folder, 'missing')
  const options = { kernel: multibootImage(), modules: [Buffer.from('a'), image] }
  await expect(VirtualMachine.create(options)).rejects.toMatchObject({
    code: 'ERR_INITRD',
    option: 'modules[1]',
  })
})
