#!/bin/bash
# serve.sh PROGRAM PORT ARGUMENT...
#
# Runs a program as a document has it. One that serves stays in the background until its document ends or another
# wants its port; this ends as soon as it serves, and fails where it does not or says that what it watches is down.
program=$1 port=$2
shift 2
for argument; do
	case $argument in
	check-config | healthcheck | scrape | doctor | convert | docs | help | --help* | -h | --version | -version) exec "$program" "$@" ;;
	-web.listen-address=* | --web.listen-address=*) port=${argument##*:} ;;
	esac
done

if [ -f "$SERVING/$port" ]; then
	kill "$(cat "$SERVING/$port")" 2>/dev/null
	for _ in {1..100}; do (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break; sleep 0.05; done
fi
"$program" "$@" >"$SERVING/$port.log" 2>&1 </dev/null &
pid=$!
echo $pid >"$SERVING/$port"

fail() {
	echo "$(basename "$program"): $1" >&2
	tail -n 20 "$SERVING/$port.log" >&2
	exit 1
}
for _ in {1..200}; do
	kill -0 $pid 2>/dev/null || fail "it ended"
	# A page behind TLS or a password is for the document to ask for: what it refuses here, it serves.
	status=$(curl -s --max-time 10 -o "$SERVING/$port.page" -w '%{http_code}' "http://127.0.0.1:$port/metrics")
	case $status in
	200) [ "$(basename "$program")" != prometheus ] || curl -sf --max-time 5 -o /dev/null "http://127.0.0.1:$port/-/ready" || { sleep 0.1; continue; } ;;
	400 | 401) exit 0 ;;
	*) sleep 0.1; continue ;;
	esac
	down=$(grep -E '^(pg|redis|vectordb|smtp)_up(\{.*\})? 0$' "$SERVING/$port.page") && fail "$down"
	exit 0
done
fail "it does not serve on port $port"
