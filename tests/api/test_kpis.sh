#!/bin/bash
# KPIs and touchpoints over HTTP and by `keel kpi`: definitions, values, as they were known, odd input.
# ctest: timeout=300
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$here/../support exec python3 "$here/kpis.py"
