# shellcheck shell=bash
# What the Debian packages are made with, and a Debian with systemd to install them in.

nfpm_version=v2.45.0

ensure_nfpm() {
	compile nfpm $nfpm_version github.com/goreleaser/nfpm/v2/cmd/nfpm
	here+=("nfpm $nfpm_version")
}

# The root is that of a Debian as small as they come. Tests boot a systemd in it that has processes, mounts and control
# groups of its own; what they write goes elsewhere.
ensure_systemd() {
	ensure_nfpm
	local folder=$cache/systemd/root site
	if [ ! -x "$folder/usr/bin/curl" ]; then
		need_root "making a Debian system in a folder"
		command -v debootstrap >/dev/null || install_debian debootstrap
		# shellcheck disable=SC2016
		site=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -m1 '/debian/$') ||
			die "this system gets no packages from Debian"
		say "making a Debian bookworm with systemd in .cache/systemd/root (nothing is installed on the system)"
		quietly debootstrap --variant=minbase --include=systemd,dbus,curl bookworm "$work/root" "$site" ||
			die "debootstrap could not make a Debian system"
		rm -rf "$work/root/var/cache/apt/archives" "$work/root/var/lib/apt/lists"
		mkdir -p "$cache/systemd"
		rm -rf "$folder"
		mv "$work/root" "$folder"
	fi
	here+=("Debian bookworm with systemd")
}
