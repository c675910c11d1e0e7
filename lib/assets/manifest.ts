import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { VmmError } from '../errors.js'

/** Of another format than this, a folder is made anew. */
const FORMAT = 1

/** What a folder of the cache held when it was made. */
export interface Manifest {
  readonly format: typeof FORMAT
  /** Where it came from: package, version, checksum. */
  readonly notes: Readonly<Record<string, string>>
  /** SHA256 of every regular file, by its path in the folder. */
  readonly files: Readonly<Record<string, string>>
}

/** The manifest of a folder, undefined if there is none that can be used. */
export async function readManifest(directory: string): Promise<Manifest | undefined> {
  try {
    const manifest = JSON.parse(
      await readFile(join(directory, 'manifest.json'), 'utf8'),
    ) as Manifest
    const whole = manifest.format === FORMAT && Object(manifest.files) === manifest.files
    return whole && Object(manifest.notes) === manifest.notes ? manifest : undefined
  } catch {
    return undefined
  }
}

/** Hashes every file of a folder and writes `manifest.json` into it. */
export async function writeManifest(
  directory: string,
  notes: Record<string, string>,
): Promise<Manifest> {
  const files: Record<string, string> = {}
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  for (const entry of entries.filter((entry) => entry.isFile())) {
    const path = join(entry.parentPath, entry.name)
    files[path.slice(directory.length + 1)] = await sha256OfFile(path)
  }
  const manifest: Manifest = { format: FORMAT, notes, files }
  await writeFile(join(directory, 'manifest.json'), `${JSON.stringify(manifest, null, 1)}\n`)
  return manifest
}

/**
 * The bytes of one file of a cached folder, checked against its manifest.
 * @throws VmmError `ERR_ASSET` if it is not there, or not as it was
 */
export async function readVerified(
  folder: { path: string; manifest: Manifest },
  name: string,
): Promise<Uint8Array> {
  const path = join(folder.path, name)
  const bytes = await readFile(path).catch((cause) => {
    throw new VmmError('ERR_ASSET', `${path} cannot be read`, { option: path, cause })
  })
  const digest = createHash('sha256').update(bytes).digest('hex')
  if (digest === folder.manifest.files[name]) return bytes
  throw new VmmError('ERR_ASSET', `${path} is not what was put there: its SHA256 is ${digest}`, {
    option: path,
    value: digest,
    expected: folder.manifest.files[name] ?? 'a file of the manifest',
  })
}

/** SHA256 of a file of any size, in hexadecimal. */
export async function sha256OfFile(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
