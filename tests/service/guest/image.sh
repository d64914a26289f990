#!/usr/bin/env bash
# image.sh OUT CCHOST SPAWNER LAUNCHER: a kernel and an initramfs for limits.test.js. Exit code 77, and the reason, where one of its
# pieces cannot be had.
set -eu
out=$1 cchost=$2 spawner=$3 launcher=$4 here=$(cd "$(dirname "$0")" && pwd)

. "$here/../../lib/guest.sh"

for tool in qemu-system-x86_64 cpio busybox systemd-socket-activate setpriv; do
  command -v "$tool" >/dev/null || lack "$tool is not installed"
done
mkdir -p "$out"
cd "$out"
kernel_into .
rm -rf root
mkdir -p root/{bin,sbin,dev,proc,sys,tmp,run,etc,home,root,var/lib,var/tmp,usr/bin,usr/lib,usr/sbin,opt,srv,mnt,new}
cp "$here/init.sh" root/init
cp "$here/unit.sh" root/usr/bin/unit
modules_into root kernel virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net
for p in bash setpriv systemd-socket-activate; do
  programs_into root "$(realpath "$(command -v "$p")")"
  [ -e "root/usr/bin/$p" ] || ln -s "/bin/$p" "root/usr/bin/$p"
done
programs_into root "$cchost" "$spawner" "$launcher"
mv "root$cchost" root/usr/bin/cchost
mkdir root/usr/lib/cchost
mv "root$spawner" "root$launcher" root/usr/lib/cchost/
[ -e root/bin/bash ] || ln -s /usr/bin/bash root/bin/bash
busybox_into root
echo 'root:x:0:0::/root:/bin/sh
cchost:x:900:900::/var/lib/cchost:/bin/sh
claude:x:1000:1000::/home/claude:/bin/bash' >root/etc/passwd
echo 'root:x:0:
cchost:x:900:
claude:x:1000:' >root/etc/group
chmod +x root/init root/usr/bin/unit
pack root initramfs.gz
