#!/bin/bash
# build.sh BINARIES REFERENCE OUTPUT: an image with `controller`, `executor` and `octavius`, which
# are in the folder BINARIES, as a file in the format of `docker save`. Without Docker, and without
# a network: what the binaries need besides (the C library, certificates) is taken from the Debian
# packages of the machine that built them. The same files always make the same bytes.
set -euo pipefail
[ $# = 3 ] || { echo "usage: build.sh BINARIES REFERENCE OUTPUT" >&2; exit 2; }
# shellcheck source=pack.sh
source "$(dirname "$0")/pack.sh"
here=$(cd "$(dirname "$0")" && pwd)
binaries=$(realpath "$1") reference=$2 output=$(realpath -m "$3")
umask 022
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root"/{tmp,proc,sys,dev,etc/octavius,etc/ssl/certs,usr/local/bin,var/lib/octavius}
chmod 1777 "$root/tmp"

architecture=$(dpkg --print-architecture)
packages=("libc6:$architecture" "libgcc-s1:$architecture" ca-certificates)
versions=$(dpkg-query -W -f '${binary:Package} ${Version}\n' "${packages[@]}") ||
  { echo "please run as root: apt-get install ${packages[*]}" >&2; exit 1; }
# Libraries and licences; what no program of ours opens (converters of characters, manuals) stays out.
for package in "${packages[@]}"; do dpkg -L "$package"; done |
  grep -E '/lib(32|64)?/([^/]+/)?[^/]+\.so(\.[^/]*)?$|^/usr/share/doc/[^/]+/copyright$' |
  sed 's,^/,,' | tar -C / --no-recursion --files-from=- -c | tar -C "$root" -x
# The package makes this file when it is installed, with what the machine's administrator adds. These are the package's own.
dpkg -L ca-certificates | grep '\.crt$' | LC_ALL=C sort | xargs cat >"$root/etc/ssl/certs/ca-certificates.crt"

for name in controller executor octavius; do
  install -m 0755 "$binaries/$name" "$root/usr/local/bin/$name"
  strip --strip-debug "$root/usr/local/bin/$name"
done
install -D -m 0644 /usr/share/doc/libgcc-s1/copyright "$root/usr/share/doc/libgcc-s1/copyright" # behind a link
install -D -m 0644 "$here/../../LICENSE" "$root/usr/share/doc/octavius/copyright"
printf 'root:x:0:0:root:/:/usr/sbin/nologin\noctavius:x:65532:65532::/var/lib/octavius:/usr/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\noctavius:x:65532:\n' >"$root/etc/group"
printf 'hosts: files dns\n' >"$root/etc/nsswitch.conf"
chmod -R u=rwX,go=rX "$root"/{etc,usr}; chmod 755 "$root"

mkdir -p "$(dirname "$output")"
pack_image "$root" "$reference" \
  '{"User":"65532:65532","Env":["PATH=/usr/local/bin"],"Cmd":["octavius"],"WorkingDir":"/var/lib/octavius"}' "$output"
echo "$output: $reference, $(du -h "$output" | cut -f1), with ${versions//$'\n'/, }" >&2
