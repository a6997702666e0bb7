# shellcheck shell=bash
# What the test of the whole platform runs beside our servers.

ensure_platform() {
	[ -x "$cache/debian/usr/bin/prometheus-node-exporter" ] || unpack_debian prometheus-node-exporter
	here+=("$("$cache/debian/usr/bin/prometheus-node-exporter" --version 2>&1 | grep -om1 '^node_exporter, version [0-9.]*')")
}
