/** Bytes between `$` and `#` that either side sends at most. */
export const PACKET_SIZE = 0x4000

export const OK = 'OK'
/** To a packet that is not known. */
export const UNKNOWN = ''
export const EINVAL = 'E16'
export const EFAULT = 'E0e'
export const ENOSPC = 'E1c'
