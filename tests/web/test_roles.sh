#!/bin/bash
# The screens as each role sees them: what it may not do is not offered, and asked for by a link it is
# said in words, not as an error. Then texts that hold scripts, in everything that people and events
# can name: they are shown as text on every page. See roles.py, tests/support/web/roles.mjs, script.mjs.
# ctest: timeout=600 plain
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../support/web/needs.sh"
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/roles.py"
