#!/bin/bash
# Real SDKs from npm, in Node and in headless Chromium, drive a started server; see sdks.py.
# tools/install-packages brings what it needs. If npm cannot install the SDKs: skipped.
# ctest: timeout=600 serial
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
skip() { echo "skipped: $*"; exit 77; }
for tool in node npm chromium; do
    command -v $tool >/dev/null && continue
    command -v dpkg-query >/dev/null || skip "$tool is not installed"
    echo "$tool is not installed; run tools/install-packages" && exit 1
done
mkdir -p "$root/build/sdk" && cd "$root/build/sdk" || exit 1
cmp -s "$root/tests/support/sdk/package.json" package.json || cp "$root/tests/support/sdk/package.json" .
npm ls --silent >/dev/null 2>&1 ||
    npm install --no-audit --no-fund --ignore-scripts --loglevel=error ||
    skip "npm cannot install the SDKs of tests/support/sdk/package.json"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/sdks.py"
