#!/bin/sh
# Our Python packages are ours alone, and nothing from the present folder is ever imported.
export PYTHONPATH=/usr/lib/edge-scanner PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1
exec /usr/bin/python3 -s -m edge.scanner "$@"
