#!/bin/sh
# machine.sh DIR DISK ADDRESS [VOLUME-DIR PATH]...: one server of the double, in namespaces of its own (machines.js starts it so): this
# system's files beneath an overlay in memory, users and keys as cloud-init would leave them, sshd on ADDRESS. DIR holds root.pub,
# claude.pub and the host key. Where DISK has a NixOS, it is that: with what its disk says, units that cannot be written, and
# what our module says of cloud-init, sshd and the agent. Boots again when /run/reboot is there. Ends with its pid 1.
set -eu
dir=$1 disk=$2 address=$3
shift 3
mount --make-rprivate /
root=$dir/root
mkdir -p "$root"
mount -t tmpfs tmpfs "$root"
mkdir "$root/u" "$root/w" "$root/r"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/u,workdir=$root/w" "$root/r"
r=$root/r
mount --rbind /dev "$r/dev"
mount -t proc proc "$r/proc"
for d in run tmp root home; do mount -t tmpfs tmpfs "$r/$d"; done
mkdir -p "$r/run/sshd" "$r/run/lock" "$r/disk" "$r/volumes"
mount --bind "$disk" "$r/disk"
chmod 1777 "$r/tmp"

keys_of_user_data() {
  mkdir -p "$r/root/.ssh"
  install -m 600 "$dir/host.key" "$r/etc/ssh/ssh_host_ecdsa_key"
  cp "$dir/host.pub" "$r/etc/ssh/ssh_host_ecdsa_key.pub"
  install -m 600 "$dir/root.pub" "$r/root/.ssh/authorized_keys"
  chmod 700 "$r/root" "$r/root/.ssh"
}

user() {
  chroot "$r" useradd -m -s /bin/bash claude 2>/dev/null || chroot "$r" sh -c '[ -d /home/claude ] || { cp -a /etc/skel /home/claude && chown -R claude: /home/claude; }'
}

# The system that Hetzner's image has.
ubuntu() {
  rm -f "$r"/etc/ssh/ssh_host_*
  keys_of_user_data
  user
  mkdir "$r/home/claude/.ssh"
  install -m 600 "$dir/claude.pub" "$r/home/claude/.ssh/authorized_keys"
  chroot "$r" chown -R claude: /home/claude/.ssh
}

nixos() {
  umount -lR "$r/mnt" 2>/dev/null || :
  for d in run root home; do umount -l "$r/$d"; mount -t tmpfs tmpfs "$r/$d"; done
  mkdir -p "$r/run/sshd" "$r/run/lock" "$r/run/systemd/system" "$r/etc/systemd/system"
  rm -f "$r"/etc/ssh/ssh_host_* "$r/etc/ssh/cchost_fresh" "$r/etc/os-release" "$r/etc/profile.d/cchost.sh"
  rm -rf "$r/etc/cloud-instance" "$r/usr/local/lib/cchost" "$r/etc/cchost"
  printf 'ID=nixos\n' >"$r/etc/os-release"
  cp -a "$disk/etc/." "$r/etc/"
  [ -e "$disk/var/lib/cloud/seed/nocloud/meta-data" ] || keys_of_user_data
  [ -e "$r/etc/ssh/ssh_host_ed25519_key" ] || chroot "$r" ssh-keygen -q -t ed25519 -N '' -C '' -f /etc/ssh/ssh_host_ed25519_key
  user
  mount --bind "$r/etc/systemd/system" "$r/etc/systemd/system"
  mount -o remount,bind,ro "$r/etc/systemd/system"
  cat >"$r/usr/local/bin/systemctl" <<'UNITS'
#!/bin/sh
case "$*" in
  'restart sshd') kill -HUP "$(cat /run/sshd.pid)" ;;
  'restart cchost-agent')
    [ ! -s /run/cchost.pid ] || kill "$(cat /run/cchost.pid)" 2>/dev/null || :
    mkdir -p /run/cchost/agent && chown -R claude: /run/cchost
    setsid sh -c 'echo $$ >/run/cchost.pid; exec runuser -u claude -- sh /etc/cchost/agent' >/dev/null 2>&1 </dev/null & ;;
  *) echo "Failed: Unit not found, or a job type that it does not know: $*" >&2; exit 5 ;;
esac
UNITS
  cat >"$r/usr/local/bin/mount" <<'MOUNT'
#!/bin/sh
# A volume is a directory.
case "${3:-}" in /dev/disk/by-id/scsi-0HC_Volume_*) exec /bin/mount --bind "/volumes/volume-${3##*_}" "$4" ;; esac
exec /bin/mount "$@"
MOUNT
  chmod 755 "$r/usr/local/bin/systemctl" "$r/usr/local/bin/mount"
}

while [ $# -gt 1 ]; do
  if [ -e "$disk/etc/NIXOS" ] || [ "$2" = - ]; then
    at=$r/volumes/$(basename "$1")
  else
    at=$r$2
  fi
  mkdir -p "$at"
  mount --bind "$1" "$at"
  shift 2
done
cat >"$r/etc/ssh/sshd_config" <<CONF
ListenAddress $address
PidFile /run/sshd.pid
UsePAM no
PermitRootLogin prohibit-password
AuthorizedKeysFile .ssh/authorized_keys /etc/cloud-instance/authorized_keys.d/%u
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
CONF
while :; do
  if [ -e "$disk/etc/NIXOS" ]; then nixos; else ubuntu; fi
  chroot "$r" sh -c '/usr/sbin/sshd -D -e & wait' || :
  [ -e "$r/run/reboot" ] || exit 0
  kill -KILL -1 2>/dev/null || :
done
