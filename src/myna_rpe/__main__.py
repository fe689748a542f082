"""``python -m myna_rpe`` is the command `myna`."""

from .cli import main

main()
