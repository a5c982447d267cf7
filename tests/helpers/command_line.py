"""`nap-nuclr` as tests call it, and what it says when it fails."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from pynapple_nuclr.cli import app


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def run_json(*arguments, exit_code=0):
    """Return the one JSON document that a command with --json prints."""
    result = run(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def error_lines(result):
    """Return what a command that failed with exit code 1 said, without its notes."""
    assert result.exit_code == 1, result.output
    return [line for line in result.stderr.splitlines() if not line.startswith("note: ")]


def error_of(result):
    """Return the message of a command that failed as it should: exit code 1, one line."""
    lines = error_lines(result)
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    return lines[0]
