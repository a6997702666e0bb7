#!/usr/bin/env bash
# Prints what the linker stamps into an exporter, which --version and the metric build_info then show:  tools/stamp.sh [revision]
#
# With `revision` it prints the commit alone. VERSION, REVISION, BRANCH and SOURCE_DATE_EPOCH (seconds), where they are
# set, are taken instead of what VERSION and git tell. Nothing of the machine, the user or the hour is in it: the same
# commit gives the same programs.
set -euo pipefail
cd "$(dirname "$0")/.."

commit() {
	local hash
	hash=$(git rev-parse HEAD 2>/dev/null) || { echo unknown; return; }
	[ -z "$(git status --porcelain)" ] || hash+=-dirty
	echo "$hash"
}

day() { # GNU's date and BSD's name a moment differently
	local format=+%Y%m%d-%H:%M:%S
	date -u -d "@$1" "$format" 2>/dev/null || date -u -r "$1" "$format"
}

revision=${REVISION:-$(commit)}
[ "${1:-}" != revision ] || { echo "$revision"; exit; }
branch=${BRANCH:-$(git rev-parse --abbrev-ref HEAD 2>/dev/null || echo unknown)}
moment=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || true)}
date=unknown
[ -z "$moment" ] || date=$(day "$moment")

package=github.com/prometheus/common/version
echo "-s -w -X $package.Version=${VERSION:-$(cat VERSION)} -X $package.Revision=$revision -X $package.Branch=$branch" \
	"-X $package.BuildUser=make -X $package.BuildDate=$date"
