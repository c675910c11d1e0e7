/** Modules for devices on PCI and an ext4 disk; what is built into a kernel is left out. */
export const GUEST_MODULES = ['virtio_pci', 'virtio_blk', 'virtio_net', 'ext4']

/** Added where a kernel has it as a module: for machines with `transport: 'mmio'`. */
export const OPTIONAL_GUEST_MODULES = ['virtio_mmio']

/** What the agent in a guest needs. */
export const AGENT_MODULES = ['vmw_vsock_virtio_transport']

/** What a guest needs whose root is an image under a file system in memory, and that may share folders. */
export const ROOTFS_MODULES = ['erofs', 'overlay', 'virtiofs']

/** Where the guest's init looks for the agent, and starts it. */
export const AGENT_PATH = 'sbin/node-kvm-agent'

/** The first thing that the guest's `/init` prints, a line of its own on the console. */
export const INIT_MARKER = 'node-kvm: init'

/**
 * `/init` of a guest for the busybox shell. It prints {@link INIT_MARKER} and does what the kernel's command line says:
 *
 * - `nodekvm.mode=shell`, the default: a root shell with job control on ttyS0 of `nodekvm.rows=` by `nodekvm.cols=`
 *   characters, `TERM` from `nodekvm.term=`. The disk is mounted on /mnt. Powers off when the shell ends.
 * - `nodekvm.mode=selfcheck`: prints a line `node-kvm: check NAME ok|failed DETAIL` for each of `kernel`, `disk` and
 *   `net`, then `node-kvm: done`, and powers off.
 * - `nodekvm.exec=BASE64`: runs that shell script, prints `node-kvm: exit STATUS`, and powers off.
 * - `nodekvm.mode=none`: loads the modules, prints `node-kvm: ready`, and sleeps for ever.
 * - `nodekvm.mode=rootfs`: makes the disk, with EROFS, the root, under a tmpfs that takes what is written, and becomes
 *   the agent.
 * - `nodekvm.mode=poweroff` and `nodekvm.mode=reboot`: at once, without loading a module.
 *
 * Whatever the mode but the last two, an agent that is in the initramfs is started before.
 *
 * `nodekvm.ip=ADDRESS/LENGTH` is eth0's address, `nodekvm.peer=ADDRESS` whom the self-check pings.
 */
export function guestInit(): string {
  return `#!/bin/sh
echo '${INIT_MARKER}'
# Waits for the line to be sent: what the kernel prints would come in the middle of it, and a power-off before its end.
sent() { /bin/busybox stty opost; }
say() { echo "node-kvm: $*"; sent; }
sent
# The shell finds its own commands by /proc/self/exe.
/bin/busybox mkdir -p /proc /sys /dev
/bin/busybox mount -t proc proc /proc

mode=shell
set -f
for word in $(cat /proc/cmdline); do
  value=\${word#*=}
  case $word in
    nodekvm.mode=*) mode=$value ;;
    nodekvm.exec=*) mode=exec script=$value ;;
    nodekvm.ip=*) address=$value ;;
    nodekvm.peer=*) peer=$value ;;
    nodekvm.rows=*) rows=$value ;;
    nodekvm.cols=*) columns=$value ;;
    nodekvm.term=*) terminal=$value ;;
  esac
done
set +f

finish() {
  umount /mnt 2>/dev/null
  sync
  sent
  $1 -f
  while :; do sleep 1000; done
}
case $mode in
  poweroff|reboot) finish $mode ;;
esac

mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /mnt /tmp /root
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
[ "$mode" = shell ] || dmesg -n 4
[ ! -e /modules/order ] || for module in $(cat /modules/order); do
  error=$(insmod /modules/$module.ko 2>&1) || say "module $module failed: $error"
done
ip link set lo up
[ -z "$address" ] || { ip address add "$address" dev eth0 && ip link set eth0 up; } 2>/dev/null
if [ "$mode" != rootfs ] && [ -x /${AGENT_PATH} ]; then
  # The shell has its commands in it; the agent's programs find them by these.
  /bin/busybox --install -s /bin
  /${AGENT_PATH} &
fi

${SELF_CHECK}
export HOME=/root PATH=/bin:/sbin:/usr/bin:/usr/sbin TERM=\${terminal:-vt220}
cd /root
case $mode in
  selfcheck)
    say "check kernel ok $(uname -r)"
    check disk
    check net
    say done
    ;;
  exec)
    echo "$script" | base64 -d >/tmp/script
    sh /tmp/script
    say "exit $?"
    ;;
  shell)
    mount -t ext4 /dev/vda /mnt 2>/dev/null
    stty rows \${rows:-24} cols \${columns:-80} </dev/ttyS0
    # A controlling terminal, without which there is no job control.
    PS1='root@guest:\\w\\$ ' setsid -c sh </dev/ttyS0 >/dev/ttyS0 2>&1
    ;;
  rootfs)
    mkdir -p /image /writes /root.new
    mount -t erofs -o ro /dev/vda /image &&
      mount -t tmpfs -o mode=755 tmpfs /writes && mkdir /writes/data /writes/work &&
      mount -t overlay -o lowerdir=/image,upperdir=/writes/data,workdir=/writes/work root /root.new || {
      say 'the root file system cannot be mounted'
      finish poweroff
    }
    mount -t tmpfs -o mode=755 run /root.new/run
    mount -t tmpfs -o mode=1777 tmp /root.new/tmp
    mkdir -p /root.new/run/node-kvm
    cp /${AGENT_PATH} /root.new/run/node-kvm/agent
    hostname guest
    ln -sf /proc/self/fd /dev/fd
    ln -sf /proc/self/fd/0 /dev/stdin
    ln -sf /proc/self/fd/1 /dev/stdout
    ln -sf /proc/self/fd/2 /dev/stderr
    # By its path, as the shell finds no command without /proc.
    for directory in dev sys proc; do /bin/busybox mount --move /$directory /root.new/$directory; done
    exec /bin/busybox switch_root /root.new /run/node-kvm/agent
    ;;
  none)
    say ready
    while :; do sleep 1000; done
    ;;
  *) say "unknown mode $mode" ;;
esac
finish poweroff
`
}

/** A check's last line of output is the detail. */
const SELF_CHECK = `check() {
  if detail=$(check_$1 2>&1); then result=ok; else result=failed; fi
  say "check $1 $result $(echo "$detail" | tail -n 1)"
}
check_disk() {
  mount -t ext4 /dev/vda /mnt || return
  dd if=/dev/urandom of=/mnt/check bs=64k count=16 2>/dev/null || { echo 'cannot write'; return 1; }
  before=$(sha256sum </mnt/check)
  sync
  # To be read from the disk, not from the page cache.
  umount /mnt && mount -t ext4 /dev/vda /mnt || return
  echo 3 >/proc/sys/vm/drop_caches
  after=$(sha256sum </mnt/check)
  [ "$before" = "$after" ] || { echo "wrote \${before%% *}, read \${after%% *}"; return 1; }
  echo "1 MiB written and read back, SHA256 \${after%% *}"
}
check_net() {
  [ -e /sys/class/net/eth0 ] || { echo 'no eth0'; return 1; }
  # The driver looks at the link in its own time.
  for tenth in $(seq 300); do
    [ "$(cat /sys/class/net/eth0/carrier 2>/dev/null)" = 1 ] && break
    sleep 0.1
  done
  [ "$(cat /sys/class/net/eth0/carrier 2>/dev/null)" = 1 ] || { echo 'no carrier'; return 1; }
  # One at a time: once a packet has come back ping gives the last a second, whatever it is told.
  for packet in 1 2 3; do
    ping -c 1 -W 30 "$peer" >/tmp/ping || { echo "no answer to packet $packet"; return 1; }
  done
  echo "3 packets received, the last: $(tail -n 1 /tmp/ping)"
}`
