#!/bin/bash
# Who may do what over HTTP: every route by every role, the token against forged requests on every
# route that changes something, keys, and input that means harm.
# ctest: timeout=300
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/access.py"
