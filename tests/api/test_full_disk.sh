#!/bin/bash
# A server whose disk is full, and one that may open few files; see full_disk.py.
# ctest: timeout=300 serial
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/full_disk.py"
