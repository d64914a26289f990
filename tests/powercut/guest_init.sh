#!/bin/busybox sh
# shellcheck shell=dash
# Pid 1 of the guest: mounts its disk, says whether the log is whole, and serves. It never ends by itself.
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
for m in $($b cat /modules/order); do
  [ ! -e "/modules/$m.ko" ] || $b insmod "/modules/$m.ko"
done
$b mount -t ext4 /dev/vda /data || echo "guest: no disk"
$b ip link set lo up
$b ip link set eth0 up
$b ip addr add 10.0.2.15/24 dev eth0
$b ip route add default via 10.0.2.2
export RATE_LIMIT_API=0 PATH=/bin DATA_DIR=/data/store PROVIDER=mock API_KEY=a-key-of-the-guest SWEEP_SECONDS=2 STATUS_SECONDS='{STARTING=60,STOPPING=60,DELETING=60}'
export MOCK='{latency_ms=1,latency_max_ms=30,create={chance={fail=0.05,after=0.05,half=0.05}},stop={chance={after=0.05}},destroy={chance={fail=0.05}}}'
cd /data || exit 1
if [ -e store ]; then
  cchost log --verify
  echo "guest: verified $?"
else
  echo "guest: verified 0"
fi
cchost serve --listen-addr=0.0.0.0:8080 2>&1
echo "guest: the server ended with $?"
while :; do $b sleep 1000; done
