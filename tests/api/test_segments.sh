#!/bin/bash
# Saved segments of a started server: every route, odd input, members as a full scan finds them, and
# what is told of them through kills.
# ctest: timeout=300
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/segments.py"
