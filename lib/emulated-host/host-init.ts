import { shellQuote } from './shell.js'

/** The virtio-serial ports, each a byte stream between the launcher and the host. */
export const PORTS = ['control', 'stdin', 'stdout', 'stderr'] as const

/** Tags of the 9p shares. */
export const ROOT_TAG = 'root'
export const shareTag = (index: number) => `share${index}`

/** Modules that the host cannot do without, and those that are nice to have. */
export const HOST_MODULES = ['9p', '9pnet_virtio', 'overlay', 'kvm_amd', 'tun']
export const OPTIONAL_HOST_MODULES = ['vhost_net', 'tap', 'loop', 'ext4']

/** Which of the command's streams are a terminal: none, standard input and output, or standard error as well. */
export type Terminal = false | 'output' | 'all'

/** Where the host keeps what is its own, on a tmpfs of that machine. */
const OWN = '/run/node-kvm'

/**
 * `/init` of the emulated host: the launcher's machine read-only over 9p, a tmpfs over it, and everything else that a
 * Linux system has mounted. Ends by making that the root and running `main`.
 */
export function hostInit(shareReadWrite: readonly string[]): string {
  const shares = shareReadWrite.map((path, index) => {
    const target = shellQuote(`/new${path}`)
    // Nothing cached that another process might change on the other side, but mmap works.
    return `mkdir -p ${target}; mount -t 9p -o ${P9},cache=mmap ${shareTag(index)} ${target} || fail`
  })
  return `#!/bin/sh
fail() { echo "node-kvm: the emulated host could not be set up"; poweroff -f; }
# The shell finds its own commands by /proc/self/exe.
/bin/busybox mount -t proc proc /proc
for module in $(cat /modules/order); do insmod /modules/$module.ko; done
mount -t 9p -o ${P9},cache=loose,ro ${ROOT_TAG} /lower || fail
mount -t tmpfs -o mode=755,size=75% tmpfs /upper
mkdir /upper/data /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /new || fail
mkdir -p /new/proc /new/sys /new/dev /new/run /new/tmp
mount -t proc proc /new/proc
mount -t sysfs sysfs /new/sys
mount -t devtmpfs devtmpfs /new/dev
mkdir -p /new/dev/pts /new/dev/shm /new/dev/hugepages
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /new/dev/pts
mount -t tmpfs -o mode=1777 tmpfs /new/dev/shm
mount -t hugetlbfs hugetlbfs /new/dev/hugepages
mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
mount -t debugfs debugfs /new/sys/kernel/debug
mount -t tmpfs -o mode=755 tmpfs /new/run
ln -sf /proc/self/fd /new/dev/fd
ln -sf /proc/self/fd/0 /new/dev/stdin
ln -sf /proc/self/fd/1 /new/dev/stdout
ln -sf /proc/self/fd/2 /new/dev/stderr
chmod 666 /new/dev/kvm /new/dev/net/tun
${shares.join('\n')}
mkdir -p /new/run/lock /new/run/user /new${OWN}
cp /bin/busybox /job/* /new${OWN}
exec switch_root /new ${OWN}/busybox sh ${OWN}/main
`
}

const P9 = 'trans=virtio,version=9p2000.L,msize=262144'

/**
 * The host's first process once its root is in place: runs the command with its streams on the ports, and reports.
 *
 * What it says on the control port, a line each: `ready` when the command's standard input may come, `alive` every
 * second, `exit STATUS` at the end. What it hears: `size ROWS COLUMNS`. When the launcher is gone it powers off.
 * After the last byte of each output stream comes `endMark`.
 */
export function hostMain(options: {
  terminal: Terminal
  /** Of the terminal, to begin with. */
  rows: number
  columns: number
  endMark: string
  heartbeat: boolean
}): string {
  const { terminal, rows, columns, endMark, heartbeat } = options
  // A session of its own tells the command's descendants from the host's own processes.
  const start = terminal
    ? `setsid -c busybox sh -c 'stty rows ${rows} cols ${columns}; . ./run' <>/dev/hvc0 >&0 2>${terminal === 'all' ? '&0' : 'err'}`
    : 'setsid busybox sh ./run <in >out 2>err'
  const pass = (fifo: string, port: string) =>
    `{ cat <${fifo}; printf ${endMark}; } >${port} & outputs="$outputs $!"`
  return `cd ${OWN}
./anchor &
# A port reads as ended until the launcher's side of it is known to be open.
for port in ${PORTS.join(' ')}; do
  until path=$(grep -lsx "name: node-kvm.$port" /sys/kernel/debug/virtio-ports/*) &&
    grep -q 'host_connected: 1' $path; do usleep 5000; done
  ln -s /dev/\${path##*/} $port
done
exec 3<>control
(
  while read -r word rows columns <&3; do
    [ "$word" = size ] && stty -F /dev/hvc0 rows $rows cols $columns
  done
  poweroff -f
) &
ip link set lo up
hostname emulated-kvm-host
ulimit -n 65536
mkfifo in out err
${terminal ? '' : `cat <stdin >in &`}
${terminal ? '' : pass('out', 'stdout')}
${terminal === 'all' ? '' : pass('err', 'stderr')}
echo ready >&3
${heartbeat ? 'while :; do sleep 1; echo alive; done >&3 &' : ''}
# Not with &, which would leave it deaf to SIGINT.
${start}
status=$?
# What the command left running would keep its streams open: everything of another session than ours, which is 0.
for directory in /proc/[0-9]*; do
  read -r stat <$directory/stat || continue
  set -- \${stat##*) }
  [ "$4" != 0 ] && kill -9 \${directory#/proc/}
done 2>/dev/null
${terminal === 'all' ? '' : 'wait $outputs'}
${terminal ? `printf ${endMark} >/dev/hvc0` : ''}
sync
echo exit $status >&3
while :; do sleep 1000; done
`
}
