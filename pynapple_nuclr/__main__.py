"""`python -m pynapple_nuclr`, for where `nap-nuclr` itself is not on the path."""

from pynapple_nuclr.cli import main

if __name__ == "__main__":
    main()
