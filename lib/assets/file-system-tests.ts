import type { AssetOptions } from './cache.js'
import { type GuestPrograms, guestPrograms } from './guest-programs.js'

/**
 * What puts a file system to the test in a guest: stress-ng, and e2fsprogs to make one and to check it.
 * @throws VmmError `ERR_ASSET`, `ERR_MISSING_PROGRAM`
 */
export const fileSystemTests = (options: AssetOptions = {}): Promise<GuestPrograms> =>
  guestPrograms(
    [
      { package: 'stress-ng', path: 'usr/bin/stress-ng' },
      { package: 'e2fsprogs', path: 'sbin/mke2fs' },
      { package: 'e2fsprogs', path: 'sbin/e2fsck' },
    ],
    options,
  )
