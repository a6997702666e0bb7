#!/usr/bin/env bash
# Runs the tests of modules with the race detector:  tools/tests.sh MODULE...
#
# What fails is run once more, and that is said: many tests measure the time of real servers, which a busy machine spoils
# now and then. What fails twice fails. The packages of e2e run one after another, so that they do not disturb each
# other's clocks, and always anew: Go does not know that they run what is in bin/.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD go=${GO:-go} failed=()

run() {
	"$go" test -race -timeout 15m "$@" && return
	echo "tests: $* has failed and is run once more"
	"$go" test -race -timeout 15m "$@" || failed+=("$*")
}

for module in "$@"; do
	echo "tests: $module"
	cd "$root/$module" || exit 1
	if [ "$module" = e2e ]; then
		for package in $("$go" list ./...); do run -count=1 "$package"; done
	else
		run ./...
	fi
done
[ ${#failed[@]} = 0 ] || { printf 'tests: failed twice: %s\n' "${failed[@]}" >&2; exit 1; }
