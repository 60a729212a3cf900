#!/bin/bash
# No CSV that is written for people holds a formula, whatever events, traits and names say; with
# --raw or raw=true it holds the texts as they are. Both ways say the same.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/formulas.py"
