#!/bin/bash
# What the pages show and do in Debian's Chromium, as their administrator, against a started server with
# a small simulated marketplace: accessibility (axe), no console error, no request to another host.
# See pages.py, tests/support/web/pages.mjs.
# ctest: timeout=600
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../support/web/needs.sh"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/pages.py"
