"""`python -m pingboard`: the same as the `pingboard` command."""

from pingboard.cli import main

main()
