# shellcheck shell=bash
# guest.sh, to be sourced: Debian's small kernel and root file systems for emulated guests.
#
#   lack REASON                ends with 77: a piece cannot be had here
#   kernel                     the folder of vmlinuz and kernel/ (its modules), unpacked from the package, which is not
#                              installed; made once, before the tests, which may have no network
#   kernel_into DIR            DIR/vmlinuz and DIR/kernel/
#   programs_into ROOT FILE... each with the libraries that it names
#   modules_into ROOT DIR NAME...   into ROOT/modules, in the order in which they are loaded
#   busybox_into ROOT          with a link for each of its names
#   pack ROOT FILE             an initramfs

lack() { echo "$1"; exit 77; }

kernel() {
  local at name
  at=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/build/guest-kernel
  mkdir -p "$at"
  (
    flock 9
    cd "$at"
    [ ! -e vmlinuz ] || exit 0
    name=$(apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p' | head -n 1)
    [ -n "$name" ] && apt-get -qq download "$name" 2>/dev/null || lack "the package linux-image-cloud-amd64 cannot be had"
    rm -rf kernel
    dpkg-deb -x "$name"_*.deb kernel
    rm "$name"_*.deb
    cp kernel/boot/vmlinuz-* vmlinuz
  ) 9>"$at/lock" || exit
  echo "$at"
}

kernel_into() {
  local at
  at=$(kernel) || { echo "$at"; exit 77; }
  cp "$at/vmlinuz" "$1/vmlinuz"
  rm -rf "$1/kernel"
  ln -s "$at/kernel" "$1/kernel"
}

programs_into() {
  local root=$1 f lib
  shift
  for f in "$@"; do
    mkdir -p "$root$(dirname "$f")"
    cp -L "$f" "$root$f"
    { ldd "$f" 2>/dev/null || true; } | grep -o '/[^ ]*' | while read -r lib; do
      mkdir -p "$root$(dirname "$lib")" && cp -L "$lib" "$root$lib"
    done
  done
}

modules_into() {
  local root=$1 dir=$2 m
  shift 2
  mkdir -p "$root/modules"
  for m in "$@"; do find "$dir/" -name "$m.ko" -exec cp {} "$root/modules/" \; ; done
  echo "$@" >"$root/modules/order"
}

busybox_into() {
  local a
  mkdir -p "$1/bin" "$1/sbin"
  cp "$(command -v busybox)" "$1/bin/busybox"
  for a in $(busybox --list | grep -vx busybox); do [ -e "$1/bin/$a" ] || ln -s /bin/busybox "$1/bin/$a"; done
}

pack() { (cd "$1" && find . | cpio --quiet -o -H newc) | gzip -1 >"$2"; }
