# shellcheck shell=bash
# What checks the workflows with which releases are made.

actionlint_version=v1.7.12

ensure_actionlint() {
	local program=$cache/tools/actionlint
	if [ "$("$program" -version 2>/dev/null | head -n1)" != $actionlint_version ]; then
		command -v go >/dev/null || die "actionlint is compiled, which needs Go"
		say "compiling actionlint $actionlint_version into .cache/tools"
		quietly env GOBIN="$cache/tools" GOWORK=off nice go install "github.com/rhysd/actionlint/cmd/actionlint@$actionlint_version" ||
			die "actionlint could not be compiled"
	fi
	here+=("actionlint $actionlint_version")
}
