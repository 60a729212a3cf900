#!/bin/bash
# keel serve from outside: its configuration, token, resources, TLS, signals, service manager, and
# the commands that reach it through its socket.
# ctest: timeout=300
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/serving.py"
