#!/usr/bin/env bash
# guest.sh OUT: the image "base" for virtual machines, in the folder OUT: a root file system (busybox, Debian's sshd, no
# systemd, no cloud-init) whose init runs boot.sh from the seed as cloud-init would, and a kernel with an initrd that
# finds it. Exit code 77, and the reason, where a piece cannot be had.
set -eu
out=$1
. "$(dirname "$0")/../lib/guest.sh"

for tool in qemu-img cpio busybox mke2fs; do command -v "$tool" >/dev/null || lack "$tool is not installed"; done
[ -x /usr/sbin/sshd ] || lack "sshd is not installed"
mkdir -p "$out"
cd "$out"
kernel_into .
cp vmlinuz base.kernel

# ---- the initrd
rm -rf first root
mkdir -p first/{bin,dev,root}
cp "$(command -v busybox)" first/bin/busybox
modules_into first kernel virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover net_failover \
  virtio_net virtio_console crc16 crc32c_generic libcrc32c mbcache jbd2 ext4 cdrom isofs evdev button
cat >first/init <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
for m in $($b cat /modules/order); do [ ! -e /modules/$m.ko ] || $b insmod /modules/$m.ko; done
$b mount -t ext4 /dev/vda /root || echo "guest: no disk"
$b mount -o move /dev /root/dev
exec $b switch_root /root /sbin/init
INIT
chmod +x first/init
pack first base.initrd

# ---- the root file system
mkdir -p root/{usr/bin,usr/sbin,dev,proc,sys,etc/acpi/PWRF,run,tmp,root,home/claude,var/log,var/empty}
busybox_into root
programs_into root /usr/sbin/sshd
for f in /usr/lib/openssh/sshd-session /usr/lib/openssh/sshd-auth; do [ ! -e "$f" ] || programs_into root "$f"; done
cat >root/etc/passwd <<'END'
root:*:0:0::/root:/bin/sh
sshd:*:100:65534::/run/sshd:/bin/false
claude:*:1000:1000::/home/claude:/bin/sh
END
printf 'root:x:0:\nclaude:x:1000:\nnogroup:x:65534:\n' >root/etc/group
rm -f root/sbin/init
cat >root/sbin/init <<'INIT'
#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mkdir -p /run/cchost/private/seed /dev/pts
chmod 700 /run/cchost/private
mount -t devpts pts /dev/pts
ip link set lo up
for d in /dev/vd*; do mount -t iso9660 -o ro "$d" /run/cchost/private/seed 2>/dev/null && break; done
sh /run/cchost/private/seed/boot.sh
echo "guest: booted"
trap 'sync; poweroff -f' TERM USR1 USR2
acpid # the power button, as systemd would have it
while :; do sleep 1000 & wait $!; done
INIT
printf '#!/bin/sh\nkill -TERM 1\n' >root/etc/acpi/PWRF/00000080
chmod +x root/sbin/init root/etc/acpi/PWRF/00000080
chown -R 1000:1000 root/home/claude
rm -f base.raw base.qcow2
truncate -s 96M base.raw
mke2fs -q -t ext4 -d root base.raw
qemu-img convert -q -f raw -O qcow2 base.raw base.qcow2
rm base.raw
echo "root=/dev/vda console=ttyS0 quiet panic=-1" >base.cmdline
