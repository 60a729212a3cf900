#!/bin/bash
# What is in the audit log: of requests, of commands with and without a server, of many at once; in
# backups.
# ctest: timeout=300
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/audited.py"
