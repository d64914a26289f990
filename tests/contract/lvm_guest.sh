#!/usr/bin/env bash
# lvm_guest.sh OUT CONTRACT: runs the cases of storage drivers on real LVM, in a small emulated guest, as a host may have no
# device mapper: thick volumes, then thin ones. Prints the TAP of both. Exit code 77, and the reason, where a piece cannot
# be had.
set -eu
out=$1 contract=$(readlink -f "$2")
. "$(dirname "$0")/../lib/guest.sh"

for tool in qemu-system-x86_64 qemu-img cpio busybox; do command -v "$tool" >/dev/null || lack "$tool is not installed"; done
PATH=$PATH:/usr/sbin:/sbin
lvm=$(command -v lvm) || lack "lvm2 is not installed"
mkdir -p "$out"
cd "$out"
kernel_into .

rm -rf root
mkdir -p root/{dev,proc,sys,etc/lvm,run,tmp,usr/bin,usr/sbin,var}
busybox_into root
modules_into root kernel virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk \
  crc32c_generic libcrc32c dm-mod dm-bufio dm-bio-prison dm-persistent-data dm-snapshot dm-thin-pool
lvm=$(readlink -f "$lvm")
programs_into root "$lvm" "$(readlink -f "$(command -v qemu-img)")" "$contract"
mv "root$contract" root/contract
for c in lvs vgs lvcreate lvremove lvextend lvchange vgcreate pvcreate; do ln -sf "$lvm" "root/sbin/$c"; done
lib=$(find /usr/lib/x86_64-linux-gnu -name 'libgcc_s.so.1' | head -n 1)
[ -z "$lib" ] || { mkdir -p "root${lib%/*}" && cp -L "$lib" "root$lib"; }
printf 'root:x:0:0::/:/bin/sh\n' >root/etc/passwd
printf 'image' >root/image && truncate -s 1M root/image
cat >root/init <<INIT
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
export PATH=/bin:/sbin:/usr/bin:/usr/sbin CMOCKA_MESSAGE_OUTPUT=TAP
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t tmpfs tmp /tmp; mount -t tmpfs run /run
for m in \$(cat /modules/order); do [ ! -e /modules/\$m.ko ] || insmod /modules/\$m.ko; done
C='activation{udev_sync=0 udev_rules=0 monitoring=0} backup{backup=0 archive=0} global{thin_check_executable=""} devices{scan="/dev" dir="/dev"}'
vgcreate --config "\$C" -q -y t /dev/vda >/tmp/log 2>&1 || cat /tmp/log
echo "== thick"
/contract storage lvm vg=t slice_ms=0 "lvm_config=\$C" @image=/image 2>&1
lvcreate --config "\$C" -q -y -T -L 300M t/pool >/tmp/log 2>&1 || cat /tmp/log
echo "== thin"
/contract storage lvm vg=t pool=pool "lvm_config=\$C" @image=/image 2>&1
echo "== end"
poweroff -f
INIT
chmod +x root/init
pack root initramfs.gz
rm -f disk
truncate -s 512M disk
timeout 600 qemu-system-x86_64 -accel tcg -cpu max -m 768 -smp 1 -display none -monitor none -serial stdio -no-reboot \
  -kernel vmlinuz -initrd initramfs.gz -append 'console=ttyS0 quiet panic=-1' -drive file=disk,if=virtio,format=raw,cache=unsafe \
  </dev/null | tr -d '\r'
rm -f disk
