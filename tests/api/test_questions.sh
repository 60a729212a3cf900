#!/bin/bash
# Saved questions of a started server: every route, odd input, pages, rights, the audit log, and the
# command beside it.
# ctest: timeout=120
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/questions.py"
