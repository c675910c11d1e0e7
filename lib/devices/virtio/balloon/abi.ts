/** Virtio 1.2, section 5.5: traditional memory balloon device. */

// 5.5.3 Feature bits
export const VIRTIO_BALLOON_F_STATS_VQ = 1
export const VIRTIO_BALLOON_F_DEFLATE_ON_OOM = 2
export const VIRTIO_BALLOON_F_PAGE_REPORTING = 5

// 5.5.4 Device configuration layout, offsets
export const CONFIG_NUM_PAGES = 0
export const CONFIG_ACTUAL = 4
export const CONFIG_SIZE = 16

/** Bytes of the balloon's pages, whatever the guest's own are. */
export const BALLOON_PAGE = 4096

/** 5.5.6.4: statistics by tag. Bytes, but for faults and allocations. */
export const STATISTICS = [
  'swapIn',
  'swapOut',
  'majorFaults',
  'minorFaults',
  'freeMemory',
  'totalMemory',
  'availableMemory',
  'diskCaches',
  'hugetlbAllocations',
  'hugetlbFailures',
] as const
/** Bytes of one statistic: tag and value. */
export const STATISTIC_SIZE = 10
