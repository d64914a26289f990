#!/usr/bin/env bash
# boot.sh DIR: systemd as pid 1 of namespaces of its own, on this system's files as they are, whose changes go nowhere. Nothing of
# this host's services starts. DIR is an empty folder; the packages of DIR/../*.deb are at /packages. systemd.js calls it.
set -euo pipefail
dir=$1
mount -t tmpfs tmpfs "$dir"
mkdir "$dir/upper" "$dir/work" "$dir/root"
mount -t overlay -o "lowerdir=/,upperdir=$dir/upper,workdir=$dir/work" overlay "$dir/root"
cd "$dir/root"
mount -t proc proc proc
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --rbind /dev dev
mkdir packages
cp "$dir"/../*.deb packages/
rm -rf etc/systemd/system etc/fstab etc/cchost var/lib/cchost var/lib/systemd/deb-systemd-helper-* usr/sbin/policy-rc.d
mkdir -p etc/systemd/system
for u in systemd-udevd.service systemd-udev-trigger.service getty.target systemd-logind.service systemd-timesyncd.service systemd-networkd.service \
  systemd-resolved.service dbus.service dbus.socket systemd-journald-audit.socket systemd-binfmt.service systemd-sysctl.service; do
  ln -s /dev/null "etc/systemd/system/$u"
done
ln -s /lib/systemd/system/multi-user.target etc/systemd/system/default.target
ip link set lo up
# a chroot would not do: who is in one may make no user namespaces
mkdir .before
pivot_root . .before
cd /
umount -l /.before
rmdir /.before
export container=cchost-test
exec /lib/systemd/systemd --system --show-status=0 --log-target=journal --default-standard-output=journal
