import { createHash } from 'node:crypto'
import type { ImageSource } from './image-source.js'
import { badRootfs } from './rootfs-error.js'

/** What an image says should run in it. */
export interface ImageConfig {
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  /** A name or a number, and of a group after a colon. */
  readonly user: string
}

export interface OciImage {
  readonly config: ImageConfig
  /** Each with its tar archive, which may be compressed. */
  readonly layers: readonly { readonly name: string; read(): AsyncIterable<Uint8Array> }[]
}

const JSON_MAX = 4 * 2 ** 20
const LAYERS_MAX = 1000
const DEPTH_MAX = 4
const INDEX =
  /^application\/vnd\.(oci\.image\.index\.v1|docker\.distribution\.manifest\.list\.v2)\+json$/

type Json = Readonly<Record<string, unknown>>

/** @returns `undefined` if these are not the files of an image, but, it seems, of a root file system */
export async function readImage(name: string, source: ImageSource): Promise<OciImage | undefined> {
  if (source.has('oci-layout') && source.has('index.json')) return readLayout(name, source)
  if (source.has('manifest.json')) return readDockerSave(name, source)
  return undefined
}

/** OCI image-spec, "Image Layout Specification". */
async function readLayout(name: string, source: ImageSource): Promise<OciImage> {
  let index = await readJson(name, source, 'index.json')
  for (let depth = 0; depth < DEPTH_MAX; depth++) {
    const manifests = list(index.manifests).map(object)
    const chosen = manifests.filter(isForUs)[0] ?? manifests[0]
    if (!chosen) throw badRootfs(name, 'an image without a manifest')
    const blob = await readBlobJson(name, source, chosen)
    if (!INDEX.test(String(chosen.mediaType ?? blob.mediaType))) return imageOf(name, source, blob)
    index = blob
  }
  throw badRootfs(name, `indices that are nested more than ${DEPTH_MAX} deep`)
}

function isForUs(descriptor: Json): boolean {
  const platform = object(descriptor.platform)
  return platform.os === 'linux' && platform.architecture === 'amd64'
}

async function imageOf(name: string, source: ImageSource, manifest: Json): Promise<OciImage> {
  const config = await readBlobJson(name, source, object(manifest.config))
  const descriptors = list(manifest.layers).map(object)
  if (descriptors.length > LAYERS_MAX) throw badRootfs(name, `more than ${LAYERS_MAX} layers`)
  return {
    config: configOf(config),
    layers: descriptors.map((descriptor) => {
      const { path, digest } = blobOf(name, descriptor)
      return { name: `${name}: ${digest}`, read: () => verified(name, digest, source.read(path)) }
    }),
  }
}

/** What `docker save` made before it made a layout: manifest.json names the files. */
async function readDockerSave(name: string, source: ImageSource): Promise<OciImage> {
  const [manifest, ...more] = list(await readAny(name, source, 'manifest.json')).map(object)
  if (!manifest) throw badRootfs(name, 'an archive without an image')
  if (more.length > 0) throw badRootfs(name, 'an archive of several images; expected one')
  const layers = list(manifest.Layers).map(String)
  if (layers.length > LAYERS_MAX) throw badRootfs(name, `more than ${LAYERS_MAX} layers`)
  return {
    config: configOf(await readJson(name, source, String(manifest.Config))),
    layers: layers.map((path) => ({ name: `${name}: ${path}`, read: () => source.read(path) })),
  }
}

function configOf(image: Json): ImageConfig {
  const config = object(image.config ?? image.container_config)
  const env = list(config.Env)
    .map(String)
    .filter((variable) => variable.indexOf('=') > 0)
    .map((variable) => {
      const equals = variable.indexOf('=')
      return [variable.slice(0, equals), variable.slice(equals + 1)] as const
    })
  return {
    argv: [...list(config.Entrypoint), ...list(config.Cmd)].map(String),
    env: Object.fromEntries(env),
    cwd: typeof config.WorkingDir === 'string' && config.WorkingDir ? config.WorkingDir : '/',
    user: typeof config.User === 'string' ? config.User : '',
  }
}

/** image-spec, "Content Descriptors": the digest is also the name, so it must be nothing else than one. */
function blobOf(name: string, descriptor: Json): { path: string; digest: string } {
  const digest = String(descriptor.digest)
  if (!/^sha256:[0-9a-f]{64}$/.test(digest))
    throw badRootfs(name, `a digest ${JSON.stringify(digest)}`)
  return { path: `blobs/sha256/${digest.slice(7)}`, digest }
}

async function readBlobJson(name: string, source: ImageSource, descriptor: Json): Promise<Json> {
  const { path, digest } = blobOf(name, descriptor)
  return object(await parse(name, path, verified(name, digest, source.read(path))))
}

async function readJson(name: string, source: ImageSource, path: string): Promise<Json> {
  return object(await readAny(name, source, path))
}

async function readAny(name: string, source: ImageSource, path: string): Promise<unknown> {
  return parse(name, path, source.read(path))
}

async function parse(
  name: string,
  path: string,
  chunks: AsyncIterable<Uint8Array>,
): Promise<unknown> {
  const pieces: Uint8Array[] = []
  let length = 0
  try {
    for await (const chunk of chunks) {
      pieces.push(chunk)
      length += chunk.length
      if (length > JSON_MAX) throw badRootfs(name, `${path} has more than ${JSON_MAX} bytes`)
    }
    return JSON.parse(Buffer.concat(pieces).toString()) as unknown
  } catch (error) {
    if ((error as { code?: string }).code === 'ERR_ROOTFS') throw error
    throw badRootfs(name, `${path} cannot be read: ${(error as Error).message}`, error)
  }
}

async function* verified(
  name: string,
  digest: string,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash('sha256')
  for await (const chunk of chunks) {
    hash.update(chunk)
    yield chunk
  }
  const found = `sha256:${hash.digest('hex')}`
  if (found !== digest) throw badRootfs(name, `what should be ${digest} is ${found}`)
}

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}
