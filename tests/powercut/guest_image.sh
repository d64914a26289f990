#!/usr/bin/env bash
# guest_image.sh OUT CCHOST: a kernel and an initramfs for the guest, in the folder OUT. The kernel is Debian's, unpacked
# from its package and not installed; the initramfs holds busybox, the modules of a virtio machine with ext4, cchost and
# the libraries that it names. Exit code 77, and the reason, where one of these cannot be had.
set -eu
out=$1 cchost=$2 here=$(cd "$(dirname "$0")" && pwd)

. "$here/../lib/guest.sh"

for tool in qemu-system-x86_64 cpio busybox mke2fs; do command -v "$tool" >/dev/null || lack "$tool is not installed"; done
mkdir -p "$out"
cd "$out"

kernel_into .

rm -rf root
mkdir -p root/{bin,dev,proc,sys,data}
cp "$(command -v busybox)" root/bin/busybox
cp "$here/guest_init.sh" root/init
modules_into root kernel virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover net_failover \
  virtio_net crc16 crc32c_generic libcrc32c mbcache jbd2 ext4
programs_into root "$cchost"
mv "root$cchost" root/bin/cchost
chmod +x root/init
pack root initramfs.gz
