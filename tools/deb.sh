#!/usr/bin/env bash
# Makes the Debian packages of all exporters, for amd64 and arm64, in the folder given (dist by default):
#
#   make build && VERSION=0.1.0 LDFLAGS=... tools/deb.sh [FOLDER]
#
# The program of the architecture that we run on is that of make build, in bin/; the others are compiled, stamped by
# LDFLAGS. The times in a package are SOURCE_DATE_EPOCH, or those of the last commit, so that two makings are the same to the byte.
set -euo pipefail
cd "$(dirname "$0")/.."

dist=${1:-dist}
architectures=${ARCHITECTURES:-amd64 arm64}
native=$(${GO:-go} env GOHOSTARCH)
mtime=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH=$mtime TZ=UTC LC_ALL=C
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

title() {
	case $1 in
	postgres) echo PostgreSQL ;;
	redis) echo "Redis and Valkey" ;;
	vector-db) echo "vector databases" ;;
	smtp) echo "mail servers" ;;
	*) echo "deb: no title for $1" >&2; return 1 ;;
	esac
}

# fill FILE puts what we know between the @ signs of a file.
fill() {
	sed -e "s|@name@|$name|g; s|@arch@|$arch|g; s|@version@|$VERSION|g; s|@title@|$title|g; s|@work@|$work|g" \
		-e "s|@mtime@|$(date -u -d "@$mtime" +%Y-%m-%dT%H:%M:%SZ)|g" "deploy/debian/$1"
}

# program puts the exporter for the architecture where nfpm.yaml wants it.
program() {
	if [ "$arch" = "$native" ]; then
		cp "bin/$name" "$work/$name"
		return
	fi
	(cd "exporters/$exporter" &&
		CGO_ENABLED=0 GOOS=linux GOARCH=$arch ${GO:-go} build -trimpath -ldflags "$LDFLAGS" -o "$work/$name" .)
}

# texts makes what is the same on every architecture: the program describes itself.
texts() {
	# Of the version only the first line is of use in a page's head.
	"bin/$name" --help-man | sed -e "1s/.*/.TH $name 1 \"\" \"backend-exporters $VERSION\" \"Prometheus exporters\"/" \
		-e '2,/^\.SH/{/^\.SH/!d}' -e "s/^$name\$/$name \\\\- Prometheus exporter for $title/" | gzip -9n >"$work/$name.1.gz"
	printf '%s (%s) unstable; urgency=medium\n\n  * What has changed is in NEWS.md.gz.\n\n -- %s  %s\n' "$name" "${VERSION/-/\~}" \
		"$(sed -n 's/^maintainer: //p' deploy/debian/nfpm.yaml)" "$(date -u -R -d "@$mtime")" | gzip -9n >"$work/changelog.gz"
	gzip -9nc CHANGELOG.md >"$work/NEWS.gz"
}

mkdir -p "$dist"
for main in exporters/*/main.go; do
	exporter=$(basename "$(dirname "$main")")
	name=$exporter-exporter title=$(title "$exporter") arch=
	texts
	for file in postinst prerm postrm overrides; do fill $file >"$work/$file"; done
	for arch in $architectures; do
		program
		fill nfpm.yaml >"$work/nfpm.yaml"
		nfpm package --config "$work/nfpm.yaml" --packager deb --target "$dist"
	done
done
