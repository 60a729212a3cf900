#!/bin/bash
# What leaves a running server: webhooks, the raw archive and its replay, exports, backups under load.
# ctest: timeout=300
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/outgoing.py"
