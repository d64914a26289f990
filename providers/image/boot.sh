#!/bin/sh
# boot.sh: run as root at each boot of a virtual machine, by cloud-init (bootcmd) or by an image's own init, from the
# small ISO that the host gives it (providers/libvirt/seed.c lists its files). Volumes, the user, the agent.
set -u
seed=$(cd "$(dirname "$0")" && pwd)
run=/run/cchost
mkdir -p $run/bin $run/agent $run/conf $run/ssh /run/sshd
cp "$seed/cchost-agent" $run/bin/cchost-agent && chmod 755 $run/bin/cchost-agent && ln -sf cchost-agent $run/bin/cchost-busy

# Its address in its owner's network, where nothing hands out any.
if [ -e "$seed/network" ] && read -r mac address gateway whole <"$seed/network"; then
  for d in /sys/class/net/*; do
    [ "$(cat "$d/address" 2>/dev/null)" = "$mac" ] || continue
    ip link set "${d##*/}" up
    ip address show dev "${d##*/}" | grep -qF " $address " || ip address add "$address" dev "${d##*/}"
    [ -z "$whole" ] || ip route replace "$whole" via "$gateway"
  done
fi

# One with nothing on it is its user's, also where a guest ended between the formatting and this.
own() { [ -n "$(find "$1" -mindepth 1 -maxdepth 1 ! -name lost+found | head -n 1)" ] || chown 1000:1000 "$1"; }

# Formatted once, when nothing is on it; never again.
while read -r serial path; do
  dev=/dev/disk/by-id/virtio-$serial
  if [ ! -e "$dev" ]; then # no udev: by what the kernel tells
    for d in /sys/block/vd*; do [ "$(cat "$d/serial" 2>/dev/null)" = "$serial" ] && dev=/dev/${d##*/}; done
  fi
  [ -b "$dev" ] || { echo "cchost: the volume for $path is not there ($serial)" >&2; continue; }
  mkdir -p "$path"
  grep -q " $path " /proc/mounts && continue
  mount "$dev" "$path" 2>/dev/null && { own "$path"; continue; }
  if [ "$(head -c 65536 "$dev" | tr -d '\0' | wc -c)" = 0 ]; then
    mke2fs -q -t ext4 "$dev" 2>/dev/null || mke2fs -q "$dev" >/dev/null
    mount "$dev" "$path" && own "$path"
  else
    echo "cchost: what is on the volume for $path cannot be mounted, and is left as it is" >&2
  fi
done <"$seed/volumes"

id claude >/dev/null 2>&1 || useradd -m -u 1000 -s /bin/bash claude 2>/dev/null || adduser -D -u 1000 claude
home=$(eval echo ~claude)
mkdir -p "$home/.ssh" && cat "$seed/keys" >"$home/.ssh/authorized_keys"
chmod 700 "$home/.ssh" && chmod 600 "$home/.ssh/authorized_keys" && chown -R claude "$home/.ssh"
passwd -S claude 2>/dev/null | grep -q ' L ' && usermod -p '*' claude # without a password, but not locked

# The layout and the session; setup.sh has the rest, for who wants it.
share=/usr/local/share/cchost
mkdir -p $share && tar -xf "$seed/image.tar" -C $share && sh $share/setup.sh --only layout,session

# The way in for the host: an sshd behind a virtio port, for the host's key alone.
cp "$seed/host_key" $run/ssh/host_key && chmod 600 $run/ssh/host_key
echo "restrict,port-forwarding $(cat "$seed/host")" >$run/ssh/host
chmod 644 $run/ssh/host
cat >$run/ssh/config <<END
HostKey $run/ssh/host_key
AuthorizedKeysFile $run/ssh/host
AllowUsers root
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
AllowStreamLocalForwarding yes
ClientAliveInterval 15
PidFile none
END

cp "$seed/machine.json" $run/conf/machine.json && chmod 600 $run/conf/machine.json
setsid $run/bin/cchost-agent init --listen $run/agent/agent.sock </dev/null >/var/log/cchost-agent.log 2>&1 &
for port in /dev/virtio-ports/cchost.0 /dev/vport*p1; do
  [ -c "$port" ] || continue
  setsid $run/bin/cchost-agent port "$port" /usr/sbin/sshd -i -f $run/ssh/config </dev/null >>/var/log/cchost-agent.log 2>&1 &
  break
done
