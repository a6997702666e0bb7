# shellcheck shell=bash
# Prometheus and Alertmanager with their tools.

have_tool() { command -v "$1" >/dev/null || [ -x "$cache/debian/usr/bin/$1" ] || [ -x "$cache/tools/$1" ]; }

ensure_prometheus() {
	if ! have_tool prometheus || ! have_tool promtool; then
		# Debian's Prometheus finds its web pages only where the package puts them; without root it serves its API.
		if [ "$(id -u)" = 0 ]; then install_debian prometheus; else unpack_debian prometheus; fi
	fi
	ensure_alertmanager
	here+=("prometheus, promtool, alertmanager, amtool")
}

alertmanager_version=v0.28.1

# Debian's Alertmanager runs only where the package has put its templates; this one has them within.
ensure_alertmanager() {
	have_tool alertmanager && have_tool amtool && return
	command -v go >/dev/null || die "Alertmanager is compiled, which needs Go"
	say "compiling Alertmanager $alertmanager_version into .cache/tools"
	quietly env GOBIN="$cache/tools" GOWORK=off nice go install "github.com/prometheus/alertmanager/cmd/alertmanager@$alertmanager_version" \
		"github.com/prometheus/alertmanager/cmd/amtool@$alertmanager_version" || die "Alertmanager could not be compiled"
}
