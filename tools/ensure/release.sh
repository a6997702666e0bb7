# shellcheck shell=bash
# What checks the workflows with which releases are made.

actionlint_version=v1.7.12

ensure_actionlint() {
	compile actionlint $actionlint_version github.com/rhysd/actionlint/cmd/actionlint
	here+=("actionlint $actionlint_version")
}
