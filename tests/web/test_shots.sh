#!/bin/bash
# Every page in both themes at three widths: accessibility (axe), nothing wider than the screen, paper.
# Leaves the pictures in build/web/shots, and the times of interactions in build/web/speed.json.
# See shots.py, tests/support/web/shots.mjs.
# ctest: timeout=900 plain
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../support/web/needs.sh"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/shots.py"
