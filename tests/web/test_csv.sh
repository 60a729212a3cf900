#!/bin/bash
# The CSV of an answer that the browser writes: cells as the server's, no formulas.
# ctest: timeout=60 plain
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
skip() { echo "skipped: $*"; exit 77; }
command -v node >/dev/null || skip "node is not installed"
[ -d "$here/../../web/node_modules/esbuild" ] || skip "the screens are not built: npm has not fetched its packages"
exec node "$here/../support/web/csv.mjs"
