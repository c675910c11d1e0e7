import type { Content } from '../../isolation/frames.js'
import type { Cleanup } from '../../util/cleanup.js'
import type { VmDisk, VmNet } from '../device-handles.js'
import { checkDisk, checkNet } from '../device-options.js'
import { notPlugged } from '../hot-plug.js'
import { openBackend } from '../open-backends.js'
import * as check from '../option-checks.js'
import { awaitStop, type WaitLimits } from '../stop-limits.js'
import type { BackendServers } from './backend-servers.js'
import type { RemoteHandles } from './open-handles.js'
import { RemoteDisk, type RemoteMachine, RemoteNet } from './remote-handles.js'

const checkName = check.value<string>(
  'a name',
  (given) => typeof given === 'string' && /^(block|net)\d{1,6}$/.test(given),
)

/** What {@link RemoteHotPlug} works with. */
export interface RemoteHotPlugParts {
  readonly machine: RemoteMachine
  readonly handles: Pick<RemoteHandles, 'disks' | 'nets'>
  readonly servers: BackendServers
  /** The backends' end: they outlive the machine's process, as those of the others do. */
  readonly cleanup: Cleanup
  /** Asks the machine's process. */
  readonly request: (name: string, value: unknown) => Promise<Content>
}

/** Opens and closes here the backends of devices that come and go in a machine of another process. */
export class RemoteHotPlug {
  readonly #parts: RemoteHotPlugParts
  readonly #cleanups = new Map<unknown, Cleanup>()

  constructor(parts: RemoteHotPlugParts) {
    this.#parts = parts
  }

  async plugDisk(given: unknown): Promise<VmDisk> {
    const { machine, handles, servers, request } = this.#parts
    const { backend, ...others } = checkDisk(given, 'disk')
    return await this.#plug('disk', backend, handles.disks, async (cleanup) => {
      const disk = servers.disk(backend, cleanup)
      const { value } = await request('plugDisk', { ...others, disk })
      return new RemoteDisk(checkName(value, 'disk'), machine)
    })
  }

  async plugNet(given: unknown): Promise<VmNet> {
    const { machine, handles, servers, request } = this.#parts
    const { backend, ...others } = checkNet(given, 'net')
    return await this.#plug('net', backend, handles.nets, async (cleanup) => {
      const net = servers.net(backend, cleanup)
      const { value } = await request('plugNet', { ...others, net })
      return new RemoteNet(checkName(value, 'net'), machine, backend)
    })
  }

  async unplug(device: unknown, limits: WaitLimits): Promise<void> {
    const { handles, request } = this.#parts
    const lists: (VmDisk | VmNet)[][] = [handles.disks, handles.nets]
    const list = lists.find((each) => each.includes(device as VmDisk | VmNet))
    if (list === undefined) throw notPlugged(device)
    const handle = device as VmDisk | VmNet
    const gone = request('unplug', { device: handle.name }).then(async () => {
      const index = list.indexOf(handle)
      if (index >= 0) list.splice(index, 1)
      await this.#cleanups.get(handle)?.run()
    })
    gone.catch(() => {}) // whoever waits is told; nobody may be waiting any more
    await awaitStop(gone, limits, `${handle.name} has not been let go`)()
  }

  async #plug<T extends VmDisk | VmNet>(
    option: string,
    backend: Parameters<typeof openBackend>[1],
    list: T[],
    plug: (cleanup: Cleanup) => Promise<T>,
  ): Promise<T> {
    const cleanup = this.#parts.cleanup.child()
    try {
      await openBackend(option, backend, cleanup)
      const handle = await plug(cleanup)
      list.push(handle)
      this.#cleanups.set(handle, cleanup)
      return handle
    } catch (error) {
      await cleanup.run().catch(() => {}) // the first error is the one to report
      throw error
    }
  }
}
