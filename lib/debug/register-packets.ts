import type { VcpuFd } from '../kvm/vcpu-fd.js'
import { parseHexBytes, parseHexNumber } from './hex.js'
import {
  decodeRegister,
  encodeRegister,
  REGISTERS,
  RegisterFile,
  registerBytes,
} from './registers.js'
import { EINVAL, OK } from './replies.js'

/** `g`: all registers. */
export function readRegisters(vcpu: VcpuFd): string {
  const file = new RegisterFile(vcpu)
  const values = REGISTERS.map((register) => encodeRegister(register, file))
  return Buffer.concat(values).toString('hex')
}

/** `G`, and what follows it. */
export function writeRegisters(vcpu: VcpuFd, digits: string): string {
  const bytes = parseHexBytes(digits)
  if (bytes === undefined) return EINVAL
  const file = new RegisterFile(vcpu)
  let at = 0
  for (const register of REGISTERS) {
    const end = at + registerBytes(register)
    // Those at the end may be left out.
    if (end > bytes.length) break
    decodeRegister(register, file, bytes.subarray(at, end))
    at = end
  }
  file.store()
  return OK
}

/** `p`, and the number after it. */
export function readRegister(vcpu: VcpuFd, number: string): string {
  const register = REGISTERS[parseHexNumber(number) ?? -1]
  if (register === undefined) return EINVAL
  return encodeRegister(register, new RegisterFile(vcpu)).toString('hex')
}

/** `P`, and after it the number, `=` and the value. */
export function writeRegister(vcpu: VcpuFd, assignment: string): string {
  const [number, digits = ''] = assignment.split('=')
  const register = REGISTERS[parseHexNumber(number) ?? -1]
  const bytes = parseHexBytes(digits)
  if (register === undefined || bytes?.length !== registerBytes(register)) return EINVAL
  const file = new RegisterFile(vcpu)
  decodeRegister(register, file, bytes)
  file.store()
  return OK
}
