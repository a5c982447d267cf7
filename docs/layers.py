"""Write the table of layers in architecture.md: `python docs/layers.py`.

The layers are those of `pyproject.toml`; the words are the first line of each docstring.
"""

import ast
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:  # before Python 3.11
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pynapple_nuclr"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- layers -->\n", "<!-- end of layers -->"


def read_layers() -> list[list[str]]:
    """Return the names of the packages of each layer, the highest layer first."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    return [sorted(layer.split(" | ")) for layer in contract["layers"]]


def purpose(name: str) -> str:
    """Return the first line of the docstring of a package or a module."""
    path = PACKAGE / name / "__init__.py"
    path = path if path.exists() else PACKAGE / f"{name}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.partition("\n")[0]


def describe() -> list[str]:
    """Return the table in Markdown, a row per package."""
    lines = ["| layer | package | holds |", "|---|---|---|"]
    layers = read_layers()
    for number, names in zip(range(len(layers) - 1, -1, -1), layers, strict=True):
        lines += [f"| {number} | `{name}` | {purpose(name)} |" for name in names]
    return lines


def page() -> str:
    """Return the page with its table as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    table = "\n".join(describe())
    return f"{before}{BEGIN}{table}\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
