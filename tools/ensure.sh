#!/usr/bin/env bash
# Brings the real servers that the tests and the demo run against.
#
#   tools/ensure.sh [postgres] [postgres-demo] [pgbouncer] [prometheus] [peer] ...
#
#   postgres       PostgreSQL 13 to 18: what is under /usr/lib/postgresql, the others into .cache/postgres/<major>
#   postgres-demo  one PostgreSQL server, whichever it is
#   pgbouncer      the connection pooler: what is on PATH, else the Debian package
#   prometheus     prometheus, promtool, alertmanager, amtool: what is on PATH; Prometheus from Debian where we are
#                  root, for its web pages; Alertmanager compiled, into .cache/tools
#   peer           postgres_exporter, beside which ours is tested and measured: into .cache/peer
#   weaviate, chroma, pgvector  vector databases: into .cache/ under their names
#   redis          Redis 7 and 8 and Valkey 8: into .cache/redis and .cache/valkey
#   redis-peer     redis_exporter, beside which ours is tested and measured: into .cache/peer
#   postfix, exim  mail servers, Postfix with Dovecot: into .cache/mail
#   mailpit, mailhog  mail catchers, compiled: into .cache/tools
#   smtp           all of these four
#   smtp-peer      blackbox_exporter, beside which ours is measured: into .cache/peer
#   container      buildah and runc, which build and run images; openssl, psql
#   memcached      what the example of docs/writing-an-exporter.md asks: into .cache/debian
#   nfpm           makes the Debian packages, compiled: into .cache/tools
#   systemd        nfpm, and a small Debian with systemd in which the packages are tested: into .cache/systemd
#   platform       node_exporter, one of the platform's services: into .cache/debian
#   actionlint     what checks the workflows, compiled: into .cache/tools
#   kubernetes     helm and kubeconform, compiled: into .cache/tools
#   cluster        an API server of Kubernetes, its store etcd, and kubectl, compiled: into .cache/tools
#
# Each NAME is a function ensure_NAME in tools/ensure/*.sh. Without a name all that the tests need are brought.
# It says what it installs before it does, and prints one line when nothing is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
work= # the folder for unfinished work, removed at the end
tested="postgres pgbouncer prometheus peer redis redis-peer pgvector chroma weaviate smtp smtp-peer platform container kubernetes cluster memcached actionlint systemd"

say() { echo "ensure: $*"; }
die() { echo "ensure: $*" >&2; exit 1; }

# quietly runs a command and shows what it printed only when it fails.
quietly() {
	local log=$work/log
	"$@" >"$log" 2>&1 && return
	cat "$log" >&2
	return 1
}

# compile NAME VERSION PACKAGE brings a program written in Go into .cache/tools, unless that version is there.
compile() {
	[ "$(cat "$cache/tools/$1.version" 2>/dev/null)" != "$2" ] || return 0
	command -v go >/dev/null || die "$1 is compiled, which needs Go"
	say "compiling $1 $2 into .cache/tools: this may take some minutes, once"
	quietly env GOBIN="$cache/tools" GOWORK=off nice go install "$3@$2" || die "$1 could not be compiled"
	echo "$2" >"$cache/tools/$1.version"
}

for part in "$root"/tools/ensure/*.sh; do
	# shellcheck source=/dev/null
	. "$part"
done

finish() {
	allow_services
	rm -rf "$work"
}

mkdir -p "$cache"
[ -e "$cache/.gitignore" ] || echo '*' >"$cache/.gitignore"
exec 9>"$cache/ensure.lock"
flock 9 # two at a time would unpack over each other
work=$(mktemp -d "$cache/ensure.XXXXXX")
trap finish EXIT
cd "$work"

here=()
# shellcheck disable=SC2086
[ $# -gt 0 ] || set -- $tested
for what in "$@"; do
	bring=ensure_${what//-/_}
	[ "$(type -t "$bring")" = function ] || die "unknown: $what (the tests need: $tested)"
	$bring
done
printf -v line '%s; ' "${here[@]}"
say "here: ${line%; }"
