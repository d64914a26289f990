#!/usr/bin/env bash
# build.sh OUT.deb [VERSION]: the Debian package of what `make` has built (make deb calls it).
# The files are those of `make install`, and the service's; what it depends on is what the linker says, by dpkg-shlibdeps, and the
# libraries that the program opens when it first needs them. DEB_PACK: how it is packed (tests).
set -euo pipefail
cd "$(dirname "$0")/../../.."
out=$(realpath -m "$1")
version=${2:-$(./cchost --version | cut -d' ' -f2)}
here=host/service
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
umask 022

make --no-print-directory install-files DESTDIR="$root" PREFIX=/usr >/dev/null
strip --strip-unneeded "$root/usr/bin/cchost" "$root/usr/lib/cchost"/*
for u in "$here"/*.service "$here"/*.socket "$here"/*.slice; do
  [ -e "$u" ] || continue
  install -D -m 0644 "$u" "$root/lib/systemd/system/$(basename "$u")"
done
install -D -m 0644 "$here/cchost.sysusers" "$root/usr/lib/sysusers.d/cchost.conf"
install -D -m 0644 "$here/cchost.tmpfiles" "$root/usr/lib/tmpfiles.d/cchost.conf"
install -D -m 0644 "$here/cchost.lua" "$root/etc/cchost/cchost.lua"
doc=$root/usr/share/doc/cchost
install -D -m 0644 "$here/deb/copyright" "$doc/copyright"
install -m 0644 README.md "$doc/"
install -D -m 0644 "$here/deb/lintian-overrides" "$root/usr/share/lintian/overrides/cchost"
printf 'cchost (%s) unstable; urgency=medium\n\n  * %s\n\n -- cchost <cchost@localhost>  %s\n' \
  "$version" "What changed is told by the history of the sources." "$(date -Ru -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$doc/changelog.gz"
find "$root/usr/share/man" -type f -exec gzip -9n {} +

# dpkg-shlibdeps wants a source package around it
mkdir -p "$work/debian" "$root/DEBIAN"
cp "$here/deb/control" "$work/debian/control"
shlibs=$(cd "$work" && dpkg-shlibdeps -O root/usr/bin/cchost 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
dlopen=$(dpkg-query -S libcurl.so.4 | sed -n '1s/:.*//p')
arch=$(dpkg --print-architecture)
size=$(du -sk --exclude DEBIAN "$root" | cut -f1)
sed -n '/^Package:/,$p' "$here/deb/control" | sed \
  -e "s/\${shlibs:Depends}/$shlibs/; s/\${dlopen:Depends}/$dlopen/; s/^Architecture: any$/Architecture: $arch/" \
  -e "/^Architecture:/a Version: $version\\nSection: admin\\nPriority: optional" \
  -e "/^Architecture:/a Maintainer: cchost <cchost@localhost>\\nInstalled-Size: $size" >"$root/DEBIAN/control"
for script in postinst prerm postrm; do install -m 0755 "$here/deb/$script" "$root/DEBIAN/$script"; done
(cd "$root" && find etc -type f -printf '/%p\n') >"$root/DEBIAN/conffiles"
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\n' | LC_ALL=C sort | xargs md5sum) >"$root/DEBIAN/md5sums"
find "$root" -newermt "@$SOURCE_DATE_EPOCH" -exec touch -hd "@$SOURCE_DATE_EPOCH" {} +
mkdir -p "$(dirname "$out")"
# shellcheck disable=SC2086 # words
dpkg-deb --root-owner-group ${DEB_PACK:--Zxz} --build "$root" "$out" >/dev/null
echo "$out"
