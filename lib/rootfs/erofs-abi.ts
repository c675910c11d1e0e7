/** fs/erofs/erofs_fs.h of Linux: what an image without compression has. */
export const EROFS_SUPER_OFFSET = 1024
export const EROFS_SUPER_MAGIC_V1 = 0xe0f5e1e2
export const EROFS_BLOCK_BITS = 12
export const EROFS_BLOCK_SIZE = 4096
/** Inodes are numbered by their place, in units of this many bytes. */
export const EROFS_SLOT_SIZE = 32
export const EROFS_INODE_EXTENDED_SIZE = 64
export const EROFS_DIRENT_SIZE = 12

/** i_format: bit 0 tells the extended form, bits 1 to 3 the layout of the data. */
export const EROFS_EXTENDED_FLAT_PLAIN = 1
export const EROFS_EXTENDED_FLAT_INLINE = 1 | (2 << 1)

export const FT_REG_FILE = 1
export const FT_DIR = 2
export const FT_CHRDEV = 3
export const FT_BLKDEV = 4
export const FT_FIFO = 5
export const FT_SOCK = 6
export const FT_SYMLINK = 7
