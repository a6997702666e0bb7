# shellcheck shell=bash
# Vector databases: Weaviate, Chroma, and PostgreSQL with pgvector. Redis' vector sets are in what redis.sh brings.
# Qdrant and Milvus come as no package that can be had here; the tests speak to fakes of them.

weaviate_version=v1.35.2
chroma_version=3.5.0
pgvector_major=17

# Weaviate is compiled, which takes minutes on two cores.
ensure_weaviate() {
	local folder=$cache/weaviate
	if [ "$(cat "$folder/version" 2>/dev/null)" != $weaviate_version ]; then
		command -v go >/dev/null || die "Weaviate is compiled, which needs Go"
		say "compiling Weaviate $weaviate_version into .cache/weaviate: this takes five minutes or so, once"
		quietly env GOBIN="$work/weaviate" GOWORK=off nice go install \
			"github.com/weaviate/weaviate/cmd/weaviate-server@$weaviate_version" || die "Weaviate could not be compiled"
		echo $weaviate_version >"$work/weaviate/version"
		rm -rf "$folder"
		mv "$work/weaviate" "$folder"
	fi
	here+=("Weaviate $weaviate_version")
}

# Chroma's npm package holds the server as a library for node that needs glibc 2.38 or newer. Where the system's is
# older, node runs with that of Debian trixie.
ensure_chroma() {
	local folder=$cache/chroma
	if [ "$(cat "$folder/version" 2>/dev/null)" != $chroma_version ]; then
		ensure_npm
		say "installing Chroma from npm into .cache/chroma (chromadb@$chroma_version)"
		mkdir -p "$work/chroma"
		(cd "$work/chroma" && quietly npm install --no-audit --no-fund --ignore-scripts "chromadb@$chroma_version") ||
			die "npm could not install chromadb@$chroma_version"
		rm -rf "$folder"
		mv "$work/chroma" "$folder"
		! old_libc || unpack_newer trixie "$folder/libc" libc6 libgcc-s1 libstdc++6
		echo $chroma_version >"$folder/version"
	fi
	here+=("Chroma $chroma_version")
}

old_libc() { [ "$(printf '%s\n' "$(getconf GNU_LIBC_VERSION | cut -d' ' -f2)" 2.38 | sort -V | head -n1)" != 2.38 ]; }

# pgvector is compiled from Debian's source into a copy of npm's PostgreSQL: the packages that have it compiled need a
# newer glibc, and installing one would change the system's own PostgreSQL.
ensure_pgvector() {
	local folder=$cache/pgvector
	if [ ! -e "$folder/share/postgresql/extension/vector.control" ]; then
		local version
		version=$(tr ' ' '\n' <<<"$npm_versions" | grep "^$pgvector_major\.")
		[ -x "$cache/postgres/$pgvector_major/bin/postgres" ] || npm_postgres "$version"
		command -v gcc >/dev/null || install_debian gcc
		say "compiling pgvector of Debian trixie into .cache/pgvector"
		pgvector_source
		compile_pgvector || die "pgvector could not be compiled"
		rm -rf "$folder"
		mv "$work/pgvector" "$folder"
	fi
	here+=("PostgreSQL $pgvector_major with pgvector")
}

# pgvector_source unpacks the source into $work/source and the server's headers into $work/headers.
pgvector_source() {
	newer_apt trixie download "postgresql-server-dev-$pgvector_major" || die "Debian trixie gives no headers of PostgreSQL"
	dpkg -x "postgresql-server-dev-$pgvector_major"_*.deb "$work/headers"
	sed -i 'p; s/^deb /deb-src /' "$work/apt/trixie/sources"
	newer_apt trixie update
	newer_apt trixie source --download-only pgvector || die "Debian trixie gives no source of pgvector"
	mkdir -p "$work/source"
	tar -xzf pgvector_*.orig.tar.gz -C "$work/source" --strip-components=1
}

compile_pgvector() {
	local release extensions=$work/pgvector/share/postgresql/extension
	release=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$work/source/vector.control")
	cp -al "$cache/postgres/$pgvector_major" "$work/pgvector"
	quietly gcc -O2 -ftree-vectorize -fassociative-math -fno-signed-zeros -fno-trapping-math -fPIC -shared \
		-I "$work/headers/usr/include/postgresql/$pgvector_major/server" \
		-o "$work/pgvector/lib/postgresql/vector.so" "$work"/source/src/*.c &&
		cp "$work/source/sql/vector.sql" "$extensions/vector--$release.sql" &&
		cp "$work/source/vector.control" "$extensions/"
}
