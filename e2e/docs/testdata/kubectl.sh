#!/bin/bash
# kubectl as it is, with an API server and no kubelet:  kubectl.sh KUBECTL ARGUMENT...
# Ports can be forwarded to what runs alone; that what is named is there and has the port is what can be seen.
kubectl=$1
shift
case " $* " in
*" port-forward "*)
	port=${*: -1}
	set -- "${@:1:$#-1}"
	"$kubectl" "${@/port-forward/get}" --output=jsonpath='{.spec.template.spec.containers[*].ports[*].containerPort}' | grep -qw "$port"
	;;
*) exec "$kubectl" "$@" ;;
esac
