#!/bin/bash
# A stand-in for docker, of `docker run` and `docker exec` with our images and nothing else:  docker.sh SERVE run|exec ARGUMENT...
# The program of the image runs as the image's user, with the groups, variables and mounted files that it is given, and
# with no other variable. Its root is not the image's: e2e/container runs images. What it does not know, it refuses.
set -euo pipefail

serve=$1 command=$2
shift 2
containers=$HOME/containers
mkdir -p "$containers"
refuse() { echo "docker.sh: $1" >&2; exit 2; }

case $command in
exec)
	[ "$2" = /exporter ] || refuse "there is no $2 in the image"
	program=$containers/$1
	shift 2
	exec "$program" "$@"
	;;
run) ;;
*) refuse "$command is not known" ;;
esac

name=unnamed groups='' port=9091 environment=()
# What the container before had mounted, this one does not see.
touch "$containers/mounts"
while read -r to; do rm -f "$to"; done <"$containers/mounts"
: >"$containers/mounts"
while [ $# -gt 0 ]; do
	case $1 in
	--detach | --read-only) shift ;;
	--name) name=$2; shift 2 ;;
	--cap-drop) [ "$2" = ALL ] || refuse "$1 $2"; shift 2 ;;
	--security-opt) [ "$2" = no-new-privileges ] || refuse "$1 $2"; shift 2 ;;
	--publish) port=${2##*:}; shift 2 ;;
	--group-add) groups=$groups,$2; shift 2 ;;
	--env) environment+=("$2"); shift 2 ;;
	--volume)
		IFS=: read -r from to mode <<<"$2"
		[[ $mode == ro && -e $from ]] || refuse "$2"
		mkdir -p "$(dirname "$to")"
		cp --dereference --preserve=mode,ownership "$from" "$to"
		echo "$to" >>"$containers/mounts"
		shift 2
		;;
	-*) refuse "$1 is not known" ;;
	*) break ;;
	esac
done
image=${1%:*} tag=${1##*:}
shift
[ "$tag" = "$(cat "$REPOSITORY/VERSION")" ] || refuse "images are of the version $(cat "$REPOSITORY/VERSION"), not $tag"
[[ $image == backend-exporters/* ]] || refuse "$image is none of ours"
# Where user 65534 may read them, wherever the repository is.
install -m 755 "$REPOSITORY/bin/${image#*/}" "/run/$name"
install -m 644 "$SSL_CERT_FILE" /run/ca.pem
{
	printf '#!/bin/bash\ncd /\nexec env -i SSL_CERT_FILE=/run/ca.pem'
	[ ${#environment[@]} = 0 ] || printf ' %q' "${environment[@]}"
	printf ' setpriv --reuid=65534 --regid=65534 --groups=65534%s --bounding-set=-all --no-new-privs %q "$@"\n' "$groups" "/run/$name"
} >"$containers/$name"
chmod 755 "$containers/$name"
exec "$serve" "$containers/$name" "$port" "$@"
