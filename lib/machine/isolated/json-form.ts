// Bytes in JSON: small ones, such as a UUID's. Images go by descriptor.

/** What JSON carries of a configuration. */
export function toJsonForm(value: unknown): unknown {
  if (value instanceof Uint8Array) return { $bytes: Buffer.from(value).toString('base64') }
  if (Array.isArray(value)) return value.map(toJsonForm)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, toJsonForm(item)]))
}

/** The configuration again. */
export function fromJsonForm(form: unknown): unknown {
  if (Array.isArray(form)) return form.map(fromJsonForm)
  if (typeof form !== 'object' || form === null) return form
  const { $bytes } = form as { $bytes?: unknown }
  if (typeof $bytes === 'string') return Uint8Array.from(Buffer.from($bytes, 'base64'))
  return Object.fromEntries(Object.entries(form).map(([key, item]) => [key, fromJsonForm(item)]))
}
