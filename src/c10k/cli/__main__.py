"""python -m c10k.cli: the same as python -m c10k."""

from . import main

main()
