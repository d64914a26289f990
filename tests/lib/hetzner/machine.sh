#!/bin/sh
# machine.sh DIR ADDRESS [VOLUME-DIR PATH]...: one server of the double, in namespaces of its own (machines.js starts it so): this
# system's files beneath an overlay in memory, users and keys as cloud-init would leave them, sshd on ADDRESS. DIR holds root.pub,
# claude.pub and the host key. Ends with its pid 1.
set -eu
dir=$1 address=$2
shift 2
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
mkdir -p "$r/run/sshd" "$r/run/lock" "$r/root/.ssh"
while [ $# -gt 1 ]; do
  mkdir -p "$r$2"
  mount --bind "$1" "$r$2"
  shift 2
done
rm -f "$r"/etc/ssh/ssh_host_*
install -m 600 "$dir/host.key" "$r/etc/ssh/ssh_host_ecdsa_key"
cp "$dir/host.pub" "$r/etc/ssh/ssh_host_ecdsa_key.pub"
install -m 600 "$dir/root.pub" "$r/root/.ssh/authorized_keys"
chmod 700 "$r/root" "$r/root/.ssh"
chmod 1777 "$r/tmp"
chroot "$r" useradd -m -s /bin/bash claude 2>/dev/null || chroot "$r" sh -c 'cp -a /etc/skel /home/claude && chown -R claude: /home/claude'
mkdir "$r/home/claude/.ssh"
install -m 600 "$dir/claude.pub" "$r/home/claude/.ssh/authorized_keys"
chroot "$r" chown -R claude: /home/claude/.ssh
cat >"$r/etc/ssh/sshd_config" <<CONF
ListenAddress $address
PidFile /run/sshd.pid
UsePAM no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
CONF
exec chroot "$r" sh -c '/usr/sbin/sshd -D -e & wait'
