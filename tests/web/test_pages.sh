#!/bin/bash
# Every page in Debian's Chromium, against a started server with a small simulated marketplace: what
# the pages show and do, accessibility (axe), no console error, no request to another host.
# Screenshots in both themes at three widths are left in build/web/shots. See pages.py, tests/support/web/pages.mjs.
# ctest: timeout=420
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../support/web/needs.sh"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/pages.py"
