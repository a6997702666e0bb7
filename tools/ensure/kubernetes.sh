# shellcheck shell=bash
# What renders the Helm chart, and what checks the manifests.

helm_version=v3.22.0
kubeconform_version=v0.8.0

ensure_kubernetes() {
	compile helm $helm_version helm.sh/helm/v3/cmd/helm
	compile kubeconform $kubeconform_version github.com/yannh/kubeconform/cmd/kubeconform
	here+=("helm $helm_version, kubeconform $kubeconform_version")
}
