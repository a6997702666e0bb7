# shellcheck shell=bash
# What renders the Helm chart, what checks the manifests, and the API server that takes them. kubernetes/ beside this file
# has the modules of the last: Kubernetes' own name its parts by folders that only its repository has.

helm_version=v3.22.0
kubeconform_version=v0.8.0
kubernetes_version=v1.34.4
operator_version=v0.85.0 # of Prometheus Operator, as in e2e/kubernetes/cmd/schemas

ensure_kubernetes() {
	compile helm $helm_version helm.sh/helm/v3/cmd/helm
	compile kubeconform $kubeconform_version github.com/yannh/kubeconform/cmd/kubeconform
	here+=("helm $helm_version, kubeconform $kubeconform_version")
}

# An API server with its store, and kubectl. No kubelet: objects are taken, kept and told of, and nothing of them runs.
ensure_cluster() {
	if [ "$(cat "$cache/tools/kubernetes.version" 2>/dev/null)" != $kubernetes_version ]; then
		command -v go >/dev/null || die "Kubernetes is compiled, which needs Go"
		say "compiling kube-apiserver, kubectl and etcd into .cache/tools: this may take ten minutes, once"
		local stamp=k8s.io/component-base/version minor=${kubernetes_version#v1.}
		(cd "$root/tools/ensure/kubernetes" && quietly env GOWORK=off GOFLAGS= nice go build -o "$work/" -ldflags \
			"-s -w -X $stamp.gitVersion=$kubernetes_version -X $stamp.gitMajor=1 -X $stamp.gitMinor=${minor%.*}" \
			k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl) || die "Kubernetes could not be compiled"
		(cd "$root/tools/ensure/kubernetes" && quietly env GOWORK=off GOFLAGS= nice go build -o "$work/etcd" \
			go.etcd.io/etcd/server/v3) || die "etcd could not be compiled"
		mv "$work/kube-apiserver" "$work/kubectl" "$work/etcd" "$cache/tools/"
		echo $kubernetes_version >"$cache/tools/kubernetes.version"
	fi
	if [ ! -e "$cache/kubernetes/$operator_version" ]; then
		say "copying the definitions of Prometheus Operator's kinds into .cache/kubernetes"
		local folder kind
		folder=$(cd "$work" && GOWORK=off go mod download -json "github.com/prometheus-operator/prometheus-operator@$operator_version" |
			sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
		rm -rf "$cache/kubernetes"
		mkdir "$cache/kubernetes"
		for kind in servicemonitors probes prometheusrules; do
			cp "$folder/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" "$cache/kubernetes/"
		done
		touch "$cache/kubernetes/$operator_version"
	fi
	here+=("Kubernetes $kubernetes_version, Prometheus Operator's definitions $operator_version")
}
