# shellcheck shell=bash
# What renders the Helm chart, and what checks the manifests.

helm_version=v3.22.0
kubeconform_version=v0.8.0

# compile_kubernetes NAME VERSION PACKAGE
compile_kubernetes() {
	[ "$(cat "$cache/tools/$1.version" 2>/dev/null)" != "$2" ] || return 0
	command -v go >/dev/null || die "$1 is compiled, which needs Go"
	say "compiling $1 $2 into .cache/tools: this may take some minutes, once"
	quietly env GOBIN="$cache/tools" GOWORK=off nice go install "$3@$2" || die "$1 could not be compiled"
	echo "$2" >"$cache/tools/$1.version"
}

ensure_kubernetes() {
	compile_kubernetes helm $helm_version helm.sh/helm/v3/cmd/helm
	compile_kubernetes kubeconform $kubeconform_version github.com/yannh/kubeconform/cmd/kubeconform
	here+=("helm $helm_version, kubeconform $kubeconform_version")
}
