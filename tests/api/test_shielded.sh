#!/bin/bash
# What a key without the right to personal data learns of customers: numbers, differences, exports.
# ctest: timeout=300
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/shielded.py"
