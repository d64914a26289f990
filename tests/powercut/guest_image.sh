#!/usr/bin/env bash
# guest_image.sh OUT CCHOST: a kernel and an initramfs for the guest, in the folder OUT. The kernel is Debian's, unpacked
# from its package and not installed; the initramfs holds busybox, the modules of a virtio machine with ext4, cchost and
# the libraries that it names. Exit code 77, and the reason, where one of these cannot be had.
set -eu
out=$1 cchost=$2 here=$(cd "$(dirname "$0")" && pwd)

lack() { echo "$1"; exit 77; }
for tool in qemu-system-x86_64 cpio busybox mke2fs; do command -v "$tool" >/dev/null || lack "$tool is not installed"; done
mkdir -p "$out"
cd "$out"

if [ ! -e vmlinuz ]; then
  kernel=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
  [ -n "$kernel" ] && apt-get -qq download "$kernel" 2>/dev/null || lack "the package linux-image-cloud-amd64 cannot be had"
  rm -rf kernel
  dpkg-deb -x "$kernel"_*.deb kernel
  rm "$kernel"_*.deb
  cp kernel/boot/vmlinuz-* vmlinuz
fi

# In the order in which they are loaded.
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover net_failover virtio_net
  crc16 crc32c_generic libcrc32c mbcache jbd2 ext4"

rm -rf root
mkdir -p root/{bin,dev,proc,sys,data,modules}
cp "$(command -v busybox)" root/bin/busybox
cp "$here/guest_init.sh" root/init
cp "$cchost" root/bin/cchost
for m in $modules; do find kernel -name "$m.ko" -exec cp {} root/modules/ \; ; done
echo $modules >root/modules/order
ldd "$cchost" | grep -o '/[^ ]*' | while read -r lib; do mkdir -p "root$(dirname "$lib")" && cp "$lib" "root$lib"; done
chmod +x root/init
(cd root && find . | cpio --quiet -o -H newc) | gzip -1 >initramfs.gz
