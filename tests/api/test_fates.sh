#!/bin/bash
# The tracking plan, the quarantine, the fates and the live tail of a started server, with kill -9.
# ctest: timeout=300
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/fates.py"
