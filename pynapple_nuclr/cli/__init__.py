"""The `nap-nuclr` command: the package's main functions from a terminal.

Options that are not given are not passed on, so every default is that of the Python function.
"""

from pynapple_nuclr.cli import (  # noqa: F401, I001
    embed_commands,
    probe_commands,
    report_command,
    evaluate_command,
    info_command,
)
from pynapple_nuclr.cli.commands import app, main

# Importing a module adds its commands, in the order in which `--help` shows them.
__all__ = ["app", "main"]
