# shellcheck shell=bash
# Packages of Debian and of npm, for the other parts of ensure.sh.

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

# unpack_debian PACKAGE lays a package's files into .cache/debian: nothing is installed on the system.
unpack_debian() {
	say "unpacking Debian package $1 into .cache/debian (nothing is installed on the system)"
	apt download "$1" || die "apt-get could not fetch $1"
	mkdir -p "$cache/debian"
	dpkg -x "$1"_*.deb "$cache/debian"
}

# newer_apt RELEASE ARGUMENTS runs apt-get for a release of Debian, with lists and sources of its own, so that the system's
# stay what they are. The releases' packages are made for each other: its list of installed packages is empty.
newer_apt() {
	local release=$1 site
	shift
	if [ ! -d "$work/apt/$release" ]; then
		# shellcheck disable=SC2016
		site=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$') ||
			die "this system gets no packages from Debian"
		mkdir -p "$work/apt/$release"/{lists,archives}/partial
		touch "$work/apt/$release/status"
		echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $release main" >"$work/apt/$release/sources"
		newer_apt "$release" update || die "apt-get could not read the lists of Debian $release"
	fi
	quietly apt-get -qq -o Dir::State="$work/apt/$release" -o Dir::State::status="$work/apt/$release/status" \
		-o Dir::Cache="$work/apt/$release" -o Dir::Etc::sourcelist="$work/apt/$release/sources" \
		-o Dir::Etc::sourceparts=/dev/null -o APT::Sandbox::User=root "$@"
}

# unpack_newer RELEASE FOLDER PACKAGE... unpacks packages of another release of Debian, and all that they stand on, into
# a folder, which appears whole or not at all. What is in it runs through the folder's own loader:
# FOLDER/usr/lib64/ld-linux-x86-64.so.2 --library-path FOLDER/usr/lib/x86_64-linux-gnu FOLDER/usr/bin/NAME
unpack_newer() {
	local release=$1 folder=$2 package
	shift 2
	say "unpacking $* of Debian $release into ${folder#"$root"/} (nothing is installed on the system)"
	rm -f "$work/apt/$release/archives"/*.deb
	newer_apt "$release" install --yes --download-only --no-install-recommends "$@" || die "Debian $release does not give $*"
	mkdir -p "$work/unpacked" "${folder%/*}"
	for package in "$work/apt/$release/archives"/*.deb; do dpkg -x "$package" "$work/unpacked"; done
	rm -rf "$folder"
	mv "$work/unpacked" "$folder"
}

# unpack_peer NAME PACKAGE RELEASE=VERSION... puts another project's exporter into .cache/peer/NAME: the newest that can
# be had as a program: Debian's testing has a newer one than its stable release.
# Testing moves on; what it has then was compared with ours by nobody, so stable's is taken.
unpack_peer() {
	local name=$1 package=$2 pair
	shift 2
	say "unpacking Debian package $package of a newer release into .cache/peer (nothing is installed on the system)"
	for pair in "$@"; do
		# A rebuild changes what follows the version.
		newer_apt "${pair%=*}" download "$package=${pair#*=}-*" || continue
		dpkg -x "$package"_*.deb "$work/peer"
		mkdir -p "$cache/peer"
		mv "$work/peer/usr/bin/$package" "$cache/peer/$name"
		return
	done
	die "Debian has $package in none of the versions $*"
}

ensure_npm() {
	command -v npm >/dev/null && command -v node >/dev/null && return
	need_root "installing the Debian packages nodejs and npm"
	say "installing Debian packages nodejs and npm"
	apt install --no-install-recommends -y nodejs npm || die "apt-get could not install nodejs and npm"
}
