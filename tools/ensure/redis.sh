# shellcheck shell=bash
# Redis 7, Redis 8 and Valkey 8, and redis_exporter, beside which ours is tested and measured.

# NAME/MAJOR=RELEASE: the release of Debian that has this major. They are unpacked into .cache on every system, also on
# one that has the same, so that the tests run against the same everywhere.
redis_servers="redis/7=bookworm redis/8=trixie valkey/8=trixie"

# unpack_redis NAME/MAJOR RELEASE ends with .cache/NAME/MAJOR/NAME-server, a script that runs the server with the
# loader and the libraries that it came with.
unpack_redis() {
	local folder=$cache/$1 name=${1%/*} major=${1#*/} release=$2 loader
	unpack_newer "$release" "$folder" "$name-tools"
	# The program that checks a server's files is the server itself, under another name.
	ln -s "$name-check-rdb" "$folder/usr/bin/$name-server"
	loader=$(cd "$folder" && find . -path "*/ld-linux-*" -printf "%P\n" | sort | tail -1)
	cd "$work"
	cat >server <<-END
		#!/bin/sh
		here=\${0%/*}
		exec "\$here/$loader" --library-path "$(redis_libraries "$folder")" "\$here/usr/bin/$name-server" "\$@"
	END
	chmod 755 server
	mv server "$folder/$name-server"
	"$folder/$name-server" --version | grep -q "v=$major\." && return
	rm "$folder/$name-server"
	die "Debian $release does not give a $name $major that runs here"
}

# redis_libraries FOLDER prints the folders in it that hold libraries, for its script.
redis_libraries() {
	# shellcheck disable=SC2016
	(cd "$1" && find . -path ./usr/share -prune -o -name '*.so.*' -printf '$here/%h\n') | sort -u | paste -sd:
}

ensure_redis() {
	local pair folder
	for pair in $redis_servers; do
		folder=${pair%=*}
		[ -x "$cache/$folder/${folder%/*}-server" ] || unpack_redis "$folder" "${pair#*=}"
	done
	here+=("Redis 7 and 8, Valkey 8")
}

ensure_redis_peer() {
	[ -x "$cache/peer/redis_exporter" ] || unpack_peer redis_exporter prometheus-redis-exporter forky=1.86.0 trixie=1.69.0
	here+=("$("$cache/peer/redis_exporter" --version 2>&1 | grep -om1 'Redis Metrics Exporter [0-9.]*')")
}
