#!/bin/bash
# Who may do what over HTTP: every route by every role, forged requests, sessions, keys, limits, what
# is noted, and input that means harm.
# ctest: timeout=300
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/access.py"
