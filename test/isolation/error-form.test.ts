import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { invalidOption, KvmError, VmmError } from '../../lib/errors.js'
import { errorForm, errorFromForm } from '../../lib/isolation/error-form.js'

const across = (error: unknown) => errorFromForm(JSON.parse(JSON.stringify(errorForm(error))))

describe('an error that crosses', () => {
  it('keeps its code, its option, its value and what was expected', () => {
    const cause = Object.assign(new Error('EACCES: no'), { code: 'EACCES', errno: -13 })
    const error = new VmmError('ERR_DISK', 'disk x is locked', {
      ...{ option: 'disks[0].path', value: 'x', expected: 'one that is not', cause },
    })
    expect(across(error)).toBeInstanceOf(VmmError)
    expect(across(error)).toMatchObject({ ...error, message: error.message, cause: { ...cause } })
  })

  it("is the kernel's", () => {
    const error = new KvmError('EEXIST', 17, 'KVM_CREATE_VCPU', 'again')
    expect(across(error)).toBeInstanceOf(KvmError)
    expect(across(error)).toMatchObject({ ...error, message: error.message })
  })

  it('leaves behind what no JSON has', () => {
    expect(across(invalidOption('kernel', () => {}, 'a path')).message).toContain('a function')
    expect(across('text')).toEqual(new Error('text'))
  })

  it('is some error, of bounded length, whatever is said of it', () => {
    const forms = fc.oneof(
      fc.jsonValue(),
      fc.record({
        kind: fc.constantFrom('vmm', 'kvm', 'error', 1),
        code: fc.oneof(fc.constant('ERR_DISK'), fc.constant('__proto__'), fc.jsonValue()),
        message: fc.oneof(fc.string({ maxLength: 10_000 }), fc.jsonValue()),
        option: fc.jsonValue(),
        cause: fc.jsonValue(),
        errno: fc.jsonValue(),
      }),
    )
    fc.assert(
      fc.property(forms, (form) => {
        const error = errorFromForm(form)
        expect(error).toBeInstanceOf(Error)
        expect(error.message.length).toBeLessThan(10_000)
      }),
    )
  })
})
