import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Why tables cannot be checked with ACPICA's own tools, or `undefined` if they can. */
export const iaslMissing =
  spawnSync('iasl', ['-v']).status === 0
    ? undefined
    : 'iasl is not installed (Debian package acpica-tools)'

if (iaslMissing !== undefined) console.warn(`ACPI tables are not checked: ${iaslMissing}`)

/** A table as ACPICA disassembles it, and what it says when it compiles that again. */
export function disassemble(
  signature: string,
  table: Uint8Array,
): { asl: string; messages: string } {
  const folder = mkdtempSync(join(tmpdir(), 'node-kvm-iasl-'))
  try {
    const file = join(folder, `${signature.toLowerCase()}.aml`)
    writeFileSync(file, table)
    const first = run(folder, ['-d', file])
    const source = file.replace(/aml$/, 'dsl')
    const second = run(folder, ['-we', '-p', join(folder, 'again'), source])
    return { asl: readFileSync(source, 'utf8'), messages: first + second }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * What ACPICA's interpreter says when it evaluates a method of a DSDT.
 * @param fill what each byte of every operation region reads as
 */
export function evaluate(dsdt: Uint8Array, method: string, fill: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'node-kvm-acpiexec-'))
  try {
    const file = join(folder, 'dsdt.aml')
    writeFileSync(file, dsdt)
    const args = ['-b', `evaluate ${method}`, '-fv', `0x${fill.toString(16)}`, file]
    return execFileSync('acpiexec', args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function run(folder: string, args: readonly string[]): string {
  return execFileSync('sh', ['-c', 'iasl "$@" 2>&1', 'iasl', ...args], {
    cwd: folder,
    encoding: 'utf8',
  })
}
