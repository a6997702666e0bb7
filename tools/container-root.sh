#!/usr/bin/env bash
# Lays out what is in the image of an exporter, from bin/:  tools/container-root.sh EXPORTER   (such as postgres)
#
# The program, the certificates of this system that TLS goes by, names for two users, the licence, and those of what is
# linked into the program. No time zones: all times are in UTC, or seconds.
set -euo pipefail
cd "$(dirname "$0")/.."

exporter=$1 root=bin/image/$1
certificates=/etc/ssl/certs/ca-certificates.crt
[ -x "bin/$exporter-exporter" ] || { echo "there is no bin/$exporter-exporter: run make build" >&2; exit 1; }
[ -s $certificates ] || { echo "there is no $certificates: install the package ca-certificates" >&2; exit 1; }

rm -rf "$root"
mkdir -p "$root/etc/ssl/certs"
cp "bin/$exporter-exporter" "$root/exporter"
cp $certificates "$root/etc/ssl/certs/"
cp LICENSE "$root/"
(cd e2e && "${GO:-go}" run ./cmd/release -root .. -notices "../bin/$exporter-exporter") >"$root/THIRD-PARTY-LICENSES.txt"
printf '%s\n' root:x:0:0:root:/:/sbin/nologin nobody:x:65534:65534:nobody:/:/sbin/nologin >"$root/etc/passwd"
printf '%s\n' root:x:0: nobody:x:65534: >"$root/etc/group"
chmod -R u=rwX,go=rX "$root" # also where the umask hides what it makes
# The same files give the same image.
find "$root" -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH:-0}" {} +
