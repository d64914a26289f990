#!/bin/busybox sh
# shellcheck shell=dash
# Pid 1 of a guest whose control groups are v2 alone. systemd is not here: what its units would do is done by hand (unit.sh). First it
# moves into a file system that can be pivoted away from, as that of a kernel's beginning cannot.
if [ ! -e /moved ]; then
  mount -t tmpfs -o size=700m,mode=755 tmpfs /new
  for d in bin sbin lib lib64 usr etc modules init; do [ ! -e "/$d" ] || cp -a "/$d" /new/; done
  mkdir -p /new/dev /new/proc /new/sys /new/tmp /new/run /new/home /new/root /new/var/lib/cchost /new/var/tmp /new/opt /new/srv /new/mnt
  chmod 1777 /new/tmp /new/var/tmp
  : >/new/moved
  exec switch_root /new /init
fi
export PATH=/usr/bin:/bin:/sbin
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for m in $(cat /modules/order); do [ ! -e "/modules/$m.ko" ] || insmod "/modules/$m.ko"; done
ip link set lo up
ip link set eth0 up
ip addr add 10.0.2.15/24 dev eth0
chown 900:900 /var/lib/cchost
cd /
echo "+memory +pids +cpu" >/sys/fs/cgroup/cgroup.subtree_control
mkdir /sys/fs/cgroup/machines.slice
echo "+memory +pids +cpu" >/sys/fs/cgroup/machines.slice/cgroup.subtree_control
/usr/bin/systemd-socket-activate --accept --inetd --listen=/run/spawner.sock unit 2>/dev/null &
until [ -S /run/spawner.sock ]; do sleep 0.1; done
chmod 666 /run/spawner.sock
export DATA_DIR=/var/lib/cchost PROVIDER=local LOCAL_SPAWNER=/run/spawner.sock API_KEY=a-key-of-the-guest
(
  /usr/bin/setpriv --reuid=900 --regid=900 --clear-groups --no-new-privs cchost serve --listen-addr=0.0.0.0:8080 2>&1
  echo "guest: the server ended with $?"
) &
while :; do
  for f in /sys/fs/cgroup/machines.slice/*/machine/*.max; do [ ! -e "$f" ] || echo "guest: ${f##*/}=$(cat "$f")"; done
  echo "guest: units $(find /sys/fs/cgroup/machines.slice -mindepth 1 -maxdepth 1 -type d -exec cat {}/cgroup.events \; | grep -c 'populated 1')"
  sleep 2
done
