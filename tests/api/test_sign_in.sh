#!/bin/bash
# Signing in over HTTP: cookies with and without TLS, the ends of sessions, forged requests, one-time
# links, passwords, limits of tries.
# ctest: timeout=300
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/sign_in.py"
