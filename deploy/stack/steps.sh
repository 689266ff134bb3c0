# What the scripts of this folder share; each sources it first.
# shellcheck shell=bash

# shellcheck source=../steps.sh
. "$(dirname "${BASH_SOURCE[0]}")/../steps.sh"

# content_hash PATH...: one short hash over the names (relative to this folder) and contents of files and folders.
content_hash() {
  local here
  here=$(dirname "${BASH_SOURCE[0]}")
  (cd "$here" && find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) | sha256sum | cut -c 1-12
}
