import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { root } from '../helpers/imports.js'
import { foreignEnvironment } from '../helpers/process-state.js'
import { temporaryFolder } from '../helpers/temporary-folder.js'
import { Child, compileProgram } from './child.js'
import { times } from './size.js'

/** Compiles the library that moves the time of day of whoever it is preloaded into. */
function compileClockShift(library: string): void {
  const source = join(root, 'test/load/programs/clock-shift.c')
  const flags = ['-O2', '-D_GNU_SOURCE', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC']
  execFileSync('gcc', [...flags, '-o', library, source], { env: foreignEnvironment })
}

it("LOAD-32 a jump of the host's time of day is no loss to machines, and ends no time limit", async () => {
  using folder = temporaryFolder('clock')
  const [library, shift] = [folder.path('clock-shift.so'), folder.path('shift')]
  compileClockShift(library)
  writeFileSync(shift, new BigInt64Array(1))
  const rounds = times(1000, 20)
  // A sanitizer's library must come first.
  const preload = [process.env.LD_PRELOAD, library].filter(Boolean).join(':')
  const wrapper = ['env', `LD_PRELOAD=${preload}`, `CLOCK_SHIFT=${shift}`]
  const child = new Child(await compileProgram('clock'), [shift, String(rounds)], wrapper)
  await child.says('jumps')
  const { status, stdout, stderr } = await child.ended()
  expect(stderr).toBe('')
  // Each round makes three; then there and back, and there and back.
  const jumps = 3 * rounds + 4
  expect(stdout).toBe(`${'ERR_TIMEOUT in its time\n'.repeat(2)}${jumps} jumps\n`)
  expect(status).toBe(0)
})
