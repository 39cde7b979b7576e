"""`python -m operatorkit` is the same as `operatorkit`."""

from operatorkit.cli import main

main()
