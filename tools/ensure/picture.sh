# shellcheck shell=bash
# What draws dashboards as pictures: a page with Grafana's own components, and Chromium.

ensure_picture() {
	ensure_npm
	command -v chromium >/dev/null || install_debian chromium
	local made=$cache/picture
	if ! (cd "$root/e2e/picture" && find . -type f -exec sha256sum {} + | sort) | cmp -s - "$made/of"; then
		say "installing Grafana's components from npm into .cache/picture (half a gigabyte)"
		mkdir -p "$made"
		rm -rf "$made/src" "$made/dist"
		cp -r "$root/e2e/picture/." "$made"
		(cd "$made" && quietly npm install --no-audit --no-fund --legacy-peer-deps && quietly npx vite build) ||
			die "npm could not make .cache/picture"
		(cd "$root/e2e/picture" && find . -type f -exec sha256sum {} + | sort) >"$made/of"
	fi
	here+=("what draws pictures")
}
