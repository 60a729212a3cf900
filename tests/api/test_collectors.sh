#!/bin/bash
# The collectors from outside: captures and requests of SDKs byte for byte against a started server,
# each with the reply that its SDK needs, and what is found in the store.
# ctest: timeout=300
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/collectors.py"
