#!/usr/bin/env bash
# Runs the tests on real servers: one package after another, so that they do not disturb each other's clocks. A package
# that fails is run once more, and that is said: these tests measure time, which a busy machine spoils now and then. What
# fails twice fails.
set -uo pipefail
cd "$(dirname "$0")/../e2e"
go=${GO:-go}
failed=()
for package in $("$go" list ./...); do
	"$go" test -race -count=1 -timeout 15m "$package" && continue
	echo "e2e: $package has failed and is run once more"
	"$go" test -race -count=1 -timeout 15m "$package" || failed+=("$package")
done
[ ${#failed[@]} = 0 ] || { echo "e2e: failed twice: ${failed[*]}" >&2; exit 1; }
