#!/bin/bash
# How the server hands out the screens: headers, codings, conditions, addresses.
# ctest: timeout=60
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/files.py"
