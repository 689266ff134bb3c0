# shellcheck shell=bash
# Sourced by the scripts beside it: says what is being done, for how long, and what to do when it fails.
# Everything goes to standard error, so that a script can print its result on standard output.

say() { printf '%s\n' "$*" >&2; }

fail() { say "error: $*"; exit 1; }

# step TITLE ADVICE COMMAND...: runs the command with its output kept aside; shows that output only when it fails.
step() {
  local title=$1 advice=$2 log started ticker status
  shift 2
  log=$(mktemp)
  started=$(date +%s%N)
  (
    # Ends with the script, however that ends.
    while sleep 5 >/dev/null 2>&1 && kill -0 $$; do
      say "    $title: $((($(date +%s%N) - started) / 1000000000)) s, $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-100)"
    done
  ) &
  ticker=$!
  set +e
  (set -euo pipefail; "$@") >"$log" 2>&1
  status=$?
  set -e
  kill "$ticker"
  wait "$ticker" 2>/dev/null || true
  if [ "$status" -ne 0 ]; then
    tail -n 30 "$log" >&2
    rm -f "$log"
    fail "$title failed (exit code $status); $advice"
  fi
  rm -f "$log"
  say "  $title ($(seconds_since "$started") s)"
}

# seconds_since NANOSECONDS: with one decimal.
seconds_since() {
  local tenths=$((($(date +%s%N) - $1) / 100000000))
  printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

# content_hash PATH...: one short hash over the names (relative to this folder) and contents of files and folders.
content_hash() {
  local here
  here=$(dirname "${BASH_SOURCE[0]}")
  (cd "$here" && find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum | cut -c 1-12
}
