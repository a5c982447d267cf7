"""`python -m pynapple_nuclr.cli`, for where `nap-nuclr` itself is not on the path."""

from pynapple_nuclr.cli import main

main()
