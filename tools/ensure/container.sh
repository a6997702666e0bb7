# shellcheck shell=bash
# What builds and runs the images in tests, without a registry and without a daemon, and what compose.yaml's own files
# call for: openssl and psql.

ensure_container() {
	local tool
	for tool in buildah runc; do
		command -v $tool >/dev/null || install_debian $tool
	done
	command -v openssl >/dev/null || install_debian openssl
	command -v psql >/dev/null || install_debian postgresql-client
	here+=("$(buildah --version | grep -om1 '^buildah version [0-9.]*')" "$(runc --version | grep -om1 '^runc version [0-9.]*')")
}
