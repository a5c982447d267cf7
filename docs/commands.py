"""Generate the reference of the command line as Markdown."""

import re
from collections.abc import Iterator
from typing import Any


def describe(command: Any, name: str, parent: Any = None) -> Iterator[str]:
    """Yield the lines of a command: description, usage, options, subcommands."""
    context = command.make_context(name, [], parent, resilient_parsing=True)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    yield from (
        "#" * (1 + len(name.split())) + f" `{name}`",
        "",
        *_help_lines(command.help or ""),
        "",
    )
    yield from ("```console", f"$ {usage}", "```", "")
    records = [param.get_help_record(context) for param in command.get_params(context)]
    yield from _table("argument or option", [record for record in records if record])
    subcommands = getattr(command, "commands", {})
    yield from _table("command", [(each, _first(one.help)) for each, one in subcommands.items()])
    for each, one in subcommands.items():
        yield from describe(one, f"{name} {each}", context)


def _help_lines(help_text: str) -> list[str]:
    """Return a help text with its examples as code blocks."""
    text = re.sub(r"\[/?bold\]", "", help_text)
    call = r"nap-nuclr [^\n]*"
    return re.sub(
        rf"(?:Examples?: *\n*)?({call}(?:\n+{call})*)",
        lambda found: "\n\n```\n" + re.sub(r"\n+", "\n", found.group(1)) + "\n```\n",
        text,
    ).splitlines()


def _first(help_text: str) -> str:
    return help_text.split("\n\n")[0].replace("\n", " ")


def _table(what: str, rows: list[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    cells = [[re.sub(r"\s+", " ", cell).replace("|", r"\|") for cell in row] for row in rows]
    return [f"| {what} | |", "|---|---|", *(f"| `{names}` | {text} |" for names, text in cells), ""]
