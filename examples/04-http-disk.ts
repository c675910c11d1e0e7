// A disk that lies on an HTTP server, an object store for instance: read by range requests as the guest needs it. What the
// guest writes stays in memory, over the image, which is never changed. Boots Linux on it, where KVM runs stock kernels:
// node dist/examples/04-http-disk.js https://example.org/disk.ext4
import { pathToFileURL } from 'node:url'
import { CustomDisk, describeStopReason, VirtualMachine } from 'node-kvm'
import { guestInitramfs, kernelAsset } from 'node-kvm/testing'

/** Bytes fetched at once, and how many such blocks are kept besides those that the guest has written to. */
const BLOCK = 64 * 1024
const KEPT = 256

export async function httpDisk(url: string): Promise<CustomDisk> {
  const head = await fetch(url, { method: 'HEAD' })
  if (!head.ok) throw new Error(`${url}: HTTP ${head.status}`)
  const size = Number(head.headers.get('content-length'))
  const etag = head.headers.get('etag')
  const blocks = new Map<number, Promise<Uint8Array>>()
  const written = new Set<number>()

  async function download(index: number, signal: AbortSignal): Promise<Uint8Array> {
    const first = index * BLOCK
    const last = Math.min(first + BLOCK, size) - 1
    const headers = { range: `bytes=${first}-${last}`, ...(etag && { 'if-range': etag }) }
    const response = await fetch(url, { signal, headers })
    // 200 is the whole of a file that has changed meanwhile, or a server without ranges.
    if (response.status !== 206) throw new Error(`${url}: HTTP ${response.status}, not 206`)
    return new Uint8Array(await response.arrayBuffer())
  }

  /** Requests for one block share its download; one that failed is tried again by the next. */
  function block(index: number, signal: AbortSignal): Promise<Uint8Array> {
    let wanted = blocks.get(index)
    if (wanted === undefined) {
      wanted = download(index, signal)
      wanted.catch(() => blocks.delete(index))
      blocks.set(index, wanted)
      const clean = [...blocks.keys()].filter((other) => !written.has(other))
      if (clean.length > KEPT) blocks.delete(clean[0]!)
    }
    return wanted
  }

  return new CustomDisk({
    size,
    name: url,
    id: 'http',
    async read(offset, length, signal) {
      const data = new Uint8Array(length)
      for (let at = offset; at < offset + length; ) {
        const bytes = await block(Math.floor(at / BLOCK), signal)
        const part = bytes.subarray(at % BLOCK, (at % BLOCK) + offset + length - at)
        data.set(part, at - offset)
        at += part.length
      }
      return data
    },
    async write(offset, data, signal) {
      for (let done = 0; done < data.length; ) {
        const index = Math.floor((offset + done) / BLOCK)
        const start = (offset + done) % BLOCK
        written.add(index) // first, lest the block be forgotten meanwhile
        const bytes = await block(index, signal)
        const part = data.subarray(done, done + BLOCK - start)
        bytes.set(part, start)
        done += part.length
      }
    },
  })
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const kernel = await kernelAsset('6.12')
  await using vm = await VirtualMachine.create({
    kernel: kernel.vmlinuz,
    initrd: await guestInitramfs(kernel),
    commandLine: 'console=ttyS0 quiet nodekvm.mode=selfcheck',
    memory: '256M',
    disks: [await httpDisk(process.argv[2]!)],
  })
  vm.console.output.pipe(process.stdout)
  await vm.start()
  console.log(describeStopReason(await vm.stopped))
}
