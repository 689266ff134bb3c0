# What the scripts under deploy/ share; each sources it first: the project's tools on the PATH, and steps that say what is done
# and how long it took. They speak on standard error, so that a script can print its result.
# shellcheck shell=bash

set -euo pipefail
# Or a step that fails within $(...) would be reported as done.
shopt -s inherit_errexit
# shellcheck source=cluster/env
. "$(dirname "${BASH_SOURCE[0]}")/cluster/env"
mkdir -p "$NARU_CACHE/bin" "$NARU_CACHE/log" "$NARU_CACHE/tools"

step_log='' step_advice='' step_ticker=''

# Always: stop the dots. After a failed step: the end of its log, and what to do. A script with a trap of its own calls it there.
finish() { # [STATUS]
	local status=${1:-$?}
	if [[ -n $step_ticker ]]; then kill "$step_ticker" 2>/dev/null || true; fi
	if ((status)) && [[ -n $step_log ]]; then
		printf ' failed\n\n' >&2
		tail -n 30 "$step_log" >&2
		printf '\nThe whole log is %s\n%s\n' "$step_log" "$step_advice" >&2
	fi
}
trap finish EXIT

say() { printf '%s\n' "$*" >&2; }

fail() {
	say "error: $*"
	exit 1
}

# duration SECONDS: "4 s" or "2 min 5 s"
duration() {
	if (($1 < 60)); then echo "$1 s"; else echo "$(($1 / 60)) min $(($1 % 60)) s"; fi
}

# step TITLE ADVICE COMMAND...: runs it with its output in a log named after the command and the script, a dot each five seconds,
# the time at the end. When it fails the script ends with the end of that log and ADVICE, a sentence on what to do.
step() {
	local title=$1 start=$SECONDS
	step_advice=$2
	shift 2
	step_log=$NARU_CACHE/log/$(basename "$0")-${1##*/}.log
	printf '==> %s ' "$title" >&2
	# Without the descriptor of the lock, which would be held until the dots end.
	while sleep 5; do printf . >&2; done 9>&- &
	step_ticker=$!
	("$@") >"$step_log" 2>&1
	kill "$step_ticker"
	wait "$step_ticker" 2>/dev/null || true
	step_log='' step_ticker=''
	say " $(duration $((SECONDS - start)))"
}
