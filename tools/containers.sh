#!/usr/bin/env bash
# Builds an image of each exporter from what is in bin/, without a network:  tools/containers.sh VERSION REVISION EXPORTER...
#
# With docker, or with buildah where that is what there is; CONTAINER_TOOL names one of them.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$1 revision=$2
shift 2
tool=${CONTAINER_TOOL:-$(command -v docker || command -v buildah || true)}
case ${tool##*/} in
docker) build=("$tool" build) ;;
# Docker's format, since that of OCI knows no HEALTHCHECK.
buildah) build=("$tool" build --format docker --timestamp "${SOURCE_DATE_EPOCH:-0}") ;;
*) echo "containers need docker or buildah; on Debian: apt-get install buildah" >&2; exit 1 ;;
esac
for exporter in "$@"; do
	tools/container-root.sh "$exporter"
	"${build[@]}" --quiet --target prebuilt --tag "backend-exporters/$exporter-exporter:$version" \
		--build-arg "EXPORTER=$exporter" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" .
done
