# What the scripts of this folder share; each sources it first. After it, $CLUSTER, $NODE and $NODE_IMAGE are set.
# shellcheck shell=bash

FOLDER=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../steps.sh
. "$FOLDER/../steps.sh"

KIND_CONFIG=$FOLDER/../../kind-config.yaml
CLUSTER=$(sed -n 's/^name: *//p' "$KIND_CONFIG")
# shellcheck disable=SC2034 # these are read by the scripts that source this file
NODE=$CLUSTER-control-plane
NODE_IMAGE=$(sed -n 's/^ *image: *//p' "$KIND_CONFIG" | head -n 1)
# shellcheck disable=SC2034
KUBERNETES=${NODE_IMAGE##*:v}
# The node image that is built here takes its systemd units and its entrypoint from the sources of this same version.
# shellcheck disable=SC2034
KIND_VERSION=v0.32.0

# Two runs at once would build the same things: the second waits. The scripts that a script calls hold its lock.
if [[ -z ${NARU_LOCKED:-} ]]; then
	exec 9>"$NARU_CACHE/lock"
	if ! flock --nonblock 9; then
		echo "==> another run is preparing the cluster: waiting for it"
		flock 9
	fi
	export NARU_LOCKED=yes
fi

as_root() {
	if ((EUID)); then sudo "$@"; else "$@"; fi
}

# Some hosts (sandboxes, virtual machines of CI) withhold CAP_SYS_RESOURCE, bit 24, from all their processes.
may_raise_limits() {
	local bounding
	bounding=$(awk '/^CapBnd/ { print $2 }' /proc/self/status)
	((16#$bounding >> 24 & 1))
}
