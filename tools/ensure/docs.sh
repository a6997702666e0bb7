# shellcheck shell=bash
# What the examples of the documentation run against.

ensure_memcached() {
	[ -x "$cache/debian/usr/bin/memcached" ] || unpack_debian memcached
	[ -e "$cache"/debian/usr/lib/*/libevent-2.1.so.7 ] || unpack_debian libevent-2.1-7
	here+=("memcached $(LD_LIBRARY_PATH=$(echo "$cache"/debian/usr/lib/*-linux-gnu) "$cache/debian/usr/bin/memcached" -V | grep -o '[0-9.]*$')")
}
