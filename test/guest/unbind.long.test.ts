import { expect, it } from 'vitest'
import { FileDisk, VirtualSwitch } from '../../lib/index.js'
import { openFds, slow } from '../helpers/process-state.js'
import { exec, StockGuest, temporaryDisk } from './stock-guest.js'

/** As many as an emulated processor has time for. */
const ROUNDS = slow ? 60 : 1000

/** Takes the drivers of the disk and of the card away while the disk is read, and binds them again; the disk reads as before. */
const script = `
  bus=/sys/bus/virtio/devices
  for device in $bus/*; do
    case $(cat $device/device) in
      0x0001) net=\${device##*/} ;;
      0x0002) disk=\${device##*/} ;;
    esac
  done
  head -c 4096 /dev/urandom >/tmp/a
  dd if=/tmp/a of=/dev/vda bs=4k conv=fsync 2>/dev/null
  # Whoever reads it holds its name, so that the next has another.
  name() { for node in $bus/$disk/block/*; do [ ! -e "$node" ] || echo "/dev/\${node##*/}"; done; }
  ( while [ ! -e /done ]; do cat /dev/null $(name) >/dev/null 2>&1; done ) &
  i=0
  while [ $i -lt ${ROUNDS} ]; do
    echo $disk >/sys/bus/virtio/drivers/virtio_blk/unbind
    echo $net >/sys/bus/virtio/drivers/virtio_net/unbind
    echo $disk >/sys/bus/virtio/drivers/virtio_blk/bind
    echo $net >/sys/bus/virtio/drivers/virtio_net/bind
    head -c 4096 $(name) | cmp - /tmp/a || { echo "other data in round $i"; break; }
    ip link set eth0 up || { echo "no card in round $i"; break; }
    i=$((i + 1))
  done
  touch /done
  wait
  echo "rounds: $i"`

it("a guest's drivers are unbound from busy devices and bound again, over and over", {
  timeout: 900_000,
}, async () => {
  using disk = await temporaryDisk()
  await using guest = await StockGuest.start(exec(script), {
    disks: [new FileDisk(disk.path)],
    nets: [new VirtualSwitch().port()],
  })
  await guest.said('node-kvm: init')
  const before = openFds()
  expect(await guest.ended()).toEqual({ kind: 'shutdown' })
  expect(guest.log).toContain(`rounds: ${ROUNDS}\r\n`)
  expect(guest.log).not.toMatch(/cmp:|BUG:|stall|hung|Oops/)
  const { counters } = guest.vm.disks[0]!
  expect(counters.reads).toBeGreaterThan(ROUNDS)
  expect(counters.errors).toBe(0)
  expect(openFds()).toBeLessThanOrEqual(before)
})
