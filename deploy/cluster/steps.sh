# What the scripts of this folder share; each sources it first. After it, $CLUSTER, $NODE and $NODE_IMAGE are set.
# shellcheck shell=bash

set -euo pipefail
FOLDER=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=env
. "$FOLDER/env"
mkdir -p "$NARU_CACHE/bin" "$NARU_CACHE/log" "$NARU_CACHE/tools"

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

step_log='' step_advice='' step_ticker=''

# Always: stop the dots. After a failed step: the end of its log, and what to do.
finish() {
	local status=$?
	if [[ -n $step_ticker ]]; then kill "$step_ticker" 2>/dev/null || true; fi
	if ((status)) && [[ -n $step_log ]]; then
		printf ' failed\n\n' >&2
		tail -n 20 "$step_log" >&2
		printf '\nThe whole log is %s\n%s\n' "$step_log" "$step_advice" >&2
	fi
}
trap finish EXIT

# duration SECONDS: "4 s" or "2 min 5 s"
duration() {
	if (($1 < 60)); then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi
}

# step TITLE ADVICE COMMAND...: run it with its output in a log named after the command, a dot each five seconds, the time at the
# end. When it fails the script ends with the end of that log and ADVICE, a sentence on what to do.
step() {
	local title=$1 start=$SECONDS
	step_advice=$2
	shift 2
	step_log=$NARU_CACHE/log/${1##*/}.log
	printf '==> %s ' "$title"
	while sleep 5; do printf .; done 9>&- &
	step_ticker=$!
	("$@") >"$step_log" 2>&1
	kill "$step_ticker"
	wait "$step_ticker" 2>/dev/null || true
	step_log='' step_ticker=''
	echo " $(duration $((SECONDS - start)))"
}

as_root() {
	if ((EUID)); then sudo "$@"; else "$@"; fi
}

# Some hosts (sandboxes, virtual machines of CI) withhold CAP_SYS_RESOURCE, bit 24, from all their processes.
may_raise_limits() {
	local bounding
	bounding=$(awk '/^CapBnd/ { print $2 }' /proc/self/status)
	((16#$bounding >> 24 & 1))
}
