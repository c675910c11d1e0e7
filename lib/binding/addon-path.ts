import { existsSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Where the addon is: one compiled here, else the one that the package comes with for this C library. `NODE_KVM_PREBUILD`
 * names another folder to look in.
 * @param root the package's folder
 * @throws Error naming the places, if it is in none of them
 */
export function addonPath(root: string): string {
  const folder = process.env.NODE_KVM_PREBUILD ?? root
  const libc = existsSync('/etc/alpine-release') ? 'musl' : 'glibc'
  const places = ['build/Release/node_kvm.node', `prebuilds/linux-x64/node-kvm.${libc}.node`]
  const found = places.map((place) => join(folder, place)).find((path) => existsSync(path))
  if (found === undefined) throw new Error(`neither ${places.join(' nor ')} is in ${folder}`)
  return found
}
