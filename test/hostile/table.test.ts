import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../helpers/imports.js'
import { cases } from './cases/cases.js'
import { type Line, list } from './list.js'

const SECTIONS: Readonly<Record<string, string>> = {
  RING: 'Virtqueues',
  MMIO: 'virtio-mmio and the status machine',
  PCI: 'virtio-pci',
  BLK: 'virtio-blk',
  NET: 'virtio-net',
  MEM: 'virtio-mem',
  VSOCK: 'virtio-vsock',
  PORT: 'Ports, other memory, the run loop',
  FILE: 'Kernel, initrd, command line',
  IMAGE: 'Disk images',
  API: 'Options, calls, host programs',
  LOAD: 'Faults and load',
  NODE: 'What is particular to Node',
}
const sectionOf = ({ id }: Line) => id.split('-')[0]!

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ')

function proofs({ id, tests = [], open }: Line): string {
  const mine = cases.filter((one) => one.id === id)
  const both = mine.some((one) => one.form === undefined) ? 'exits, memory' : mine[0]?.form
  return [
    ...(both ? [`\`${id}\` (${both}: ${mine.length})`] : []),
    ...tests.map(([file, title]) => `\`${file.replace('test/', '')}\`: ${title}`),
    ...(open ? [open] : []),
  ]
    .map(cell)
    .join('<br>')
}

function document(): string {
  const sections = Object.entries(SECTIONS).map(([prefix, title]) => {
    const rows = list
      .filter((line) => sectionOf(line) === prefix)
      .map(
        (line) => `| ${line.id} | ${cell(line.given)} | ${cell(line.outcome)} | ${proofs(line)} |`,
      )
    return `## ${title}\n\n| line | given | outcome | shown by |\n|---|---|---|---|\n${rows.join('\n')}\n`
  })
  return `${INTRODUCTION}\n${sections.join('\n')}`
}

const INTRODUCTION = `# Hostile guests, broken files, failing hosts

What is tried, what must come of it, and which tests show it. \`npm run -s test:hostile\` runs them all; this page is made
from them by \`npm run docs:hostile\`.

A test that is named by the line plays scripts of port, register and ring accesses (\`test/hostile/cases\`): *exits* are made
by the processor of a machine, whose guest is an interpreter of such scripts; *memory* is without KVM, on the same devices,
between canaries. After each the device verifies what it writes and reads, and meanwhile a second machine in the process
does verified I/O without an error. Any other test is told by its file and title.

Outcomes: **ERR** the request ends with the status that the specification names; **DROP** its buffers come back with
nothing written; **NR** the device sets DEVICE_NEEDS_RESET, and works again after a reset; **IGN** a write is ignored, a
read gives a fixed value.
`

it('has each line once, with a test, or the reason why there is none', () => {
  expect(new Set(list.map(({ id }) => id)).size).toBe(list.length)
  expect(list.filter((line) => !SECTIONS[sectionOf(line)])).toEqual([])
  expect(list.filter((line) => proofs(line) === '').map(({ id }) => id)).toEqual([])
  const ids = new Set(list.map(({ id }) => id))
  expect(cases.filter(({ id }) => !ids.has(id))).toEqual([])
})

it.each(
  list.flatMap(({ id, tests = [] }) => tests.map(([file, title]) => [id, file, title] as const)),
)('%s is shown by a test that there is: %s, %s', (_id, file, title) => {
  expect(readFileSync(join(root, file), 'utf8')).toContain(title)
})

it('is told in docs/hostile-guests.md as it is', async () => {
  await expect(document()).toMatchFileSnapshot(join(root, 'docs/hostile-guests.md'))
})
