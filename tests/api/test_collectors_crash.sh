#!/bin/bash
# kill -9 under load, again and again; see collectors_crash.py. KEEL_CYCLES sets how often, KEEL_SEED
# repeats the choices (not the moments).
# ctest: timeout=600 serial
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/collectors_crash.py"
