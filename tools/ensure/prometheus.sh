# shellcheck shell=bash
# Prometheus and Alertmanager with their tools.

have_tool() { command -v "$1" >/dev/null || [ -x "$cache/debian/usr/bin/$1" ]; }

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
