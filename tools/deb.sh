#!/usr/bin/env bash
# Makes the Debian package of an exporter, in a folder:  tools/deb.sh EXPORTER ARCH FOLDER   (such as redis arm64 dist)
#
# PROGRAM is what is packed, HOST_PROGRAM the same for the machine that we run on, which is asked for the manual page, and
# LICENCES the file with those of all that is linked in. The times in a package are SOURCE_DATE_EPOCH, so that two makings
# are the same to the byte. nfpm has to be on PATH: tools/ensure.sh nfpm.
set -euo pipefail
cd "$(dirname "$0")/.."

exporter=$1 arch=$2 dist=$3
: "${PROGRAM:?}" "${HOST_PROGRAM:?}" "${LICENCES:?}" "${VERSION:?}" "${SOURCE_DATE_EPOCH:?}"
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C
name=$exporter-exporter
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $exporter in
postgres) title=PostgreSQL ;;
redis) title="Redis and Valkey" ;;
vector-db) title="vector databases" ;;
smtp) title="mail servers" ;;
*) echo "deb: no title for $exporter" >&2; exit 1 ;;
esac

when() { date -u -d "@$SOURCE_DATE_EPOCH" "$@"; }

# fill FILE puts what we know between the @ signs of a file.
fill() {
	sed -e "s|@name@|$name|g; s|@arch@|$arch|g; s|@version@|$VERSION|g; s|@title@|$title|g; s|@work@|$work|g" \
		-e "s|@mtime@|$(when +%Y-%m-%dT%H:%M:%SZ)|g" "deploy/debian/$1"
}

install -m 755 "$PROGRAM" "$work/$name"
# Of the version only the first line is of use in a page's head.
"$HOST_PROGRAM" --help-man | sed -e "1s/.*/.TH $name 1 \"\" \"backend-exporters $VERSION\" \"Prometheus exporters\"/" \
	-e '2,/^\.SH/{/^\.SH/!d}' -e "s/^$name\$/$name \\\\- Prometheus exporter for $title/" | gzip -9n >"$work/$name.1.gz"
printf '%s (%s) unstable; urgency=medium\n\n  * What has changed is in NEWS.md.gz.\n\n -- %s  %s\n' "$name" "${VERSION/-/\~}" \
	"$(sed -n 's/^maintainer: //p' deploy/debian/nfpm.yaml)" "$(when -R)" | gzip -9n >"$work/changelog.gz"
gzip -9nc CHANGELOG.md >"$work/NEWS.gz"
gzip -9nc "$LICENCES" >"$work/licences.gz"
for file in postinst prerm postrm overrides nfpm.yaml; do fill $file >"$work/$file"; done

mkdir -p "$dist"
nfpm package --config "$work/nfpm.yaml" --packager deb --target "$dist"
