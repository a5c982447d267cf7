"""Configuration of the documentation, built by `make docs` without a network."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pynapple_nuclr

DOCS = Path(__file__).parent
MADE = DOCS / "_build" / "made"
sys.path.insert(0, str(DOCS))

project = "pynapple-nuclr"
author = "the pynapple-nuclr developers"
project_copyright = author
release = version = pynapple_nuclr.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
exclude_patterns = ["_build", "_templates"]
templates_path = ["_templates"]
highlight_language = "none"  # of code blocks without a language
default_role = "py:obj"  # `embed` in a docstring is a link to its page
toc_object_entries = False
suppress_warnings = [
    "myst-nb.lexer",  # unknown without execution
]
add_module_names = False

# A page for each public name. Docstrings give the types, so signatures omit them.
autosummary_generate = True
autodoc_typehints = "none"
python_maximum_signature_line_length = 80
napoleon_google_docstring = False
napoleon_use_rtype = False

# Notebooks run again when their code changes.
myst_enable_extensions = ["attrs_inline", "colon_fence"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_cache_path = str(DOCS / "_build" / ".jupyter_cache")
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_output_stderr = "remove"  # progress bars

html_theme = "pydata_sphinx_theme"
html_title = f"pynapple-nuclr {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_logo = "_static/logo.svg"
html_theme_options = {
    "logo": {"text": "pynapple-nuclr", "alt_text": "pynapple-nuclr, the first page"},
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_nav_level": 1,
    "show_toc_level": 2,
    "secondary_sidebar_items": {"**": ["page-toc", "sourcelink"], "index": []},
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {"index": [], "method": []}  # pages without subpages


# Where versions of the site lie beside each other, as "https://…/": then there is a switcher.
if site := os.environ.get("DOCS_SITE"):
    html_theme_options |= {
        "switcher": {"json_url": f"{site}stable/_static/switcher.json", "version_match": version},
        "check_switcher": False,  # it is being built
        "navbar_end": ["version-switcher", "theme-switcher"],
    }


def versions(site: str) -> list[dict[str, object]]:
    """Return what the switcher offers: the version that is built, and those of git's tags."""
    tags = subprocess.run(
        ["git", "tag", "--list", "v*", "--sort=-version:refname"],
        cwd=DOCS,
        capture_output=True,
        text=True,
    )
    names = dict.fromkeys([version, *(tag.removeprefix("v") for tag in tags.stdout.split())])
    first = {"name": f"{version} (stable)", "version": version, "url": f"{site}stable/"}
    others = [{"version": one, "url": f"{site}{one}/"} for one in names if one != version]
    return [first, *others]


def finish(app: object, failed: object) -> None:
    """Give the tutorials' cards the first figure of each, and write what versions there are."""
    out = Path(app.outdir)
    if failed or app.builder.format != "html":
        return
    out.joinpath("_static/thumbnails").mkdir(exist_ok=True)
    for page in out.glob("tutorials/*.html"):
        figure = re.search(r"_images/\w+\.png", page.read_text(encoding="utf-8"))
        if figure:
            shutil.copy(out / figure[0], out / "_static" / "thumbnails" / f"{page.stem}.png")
    if site:
        text = json.dumps(versions(site), indent=2)
        out.joinpath("_static/switcher.json").write_text(text, encoding="utf-8")


def write_command_line() -> None:
    """Write the command-line reference."""
    from commands import describe
    from typer.main import get_command

    from pynapple_nuclr.cli import app

    lines = describe(get_command(app), "nap-nuclr")
    MADE.mkdir(parents=True, exist_ok=True)
    MADE.joinpath("command_line.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def copy_tutorials() -> None:
    """Copy the notebooks of `tutorials/` into `docs/` (git ignores the copies)."""
    copies = DOCS / "tutorials"
    copies.mkdir(exist_ok=True)
    pages = {page.name: page.read_bytes() for page in (DOCS.parent / "tutorials").glob("*.md")}
    for name in {page.name for page in copies.iterdir()} - set(pages):
        copies.joinpath(name).unlink()
    for name, page in pages.items():
        copy = copies / name
        if not copy.exists() or copy.read_bytes() != page:  # otherwise Sphinx would read it again
            copy.write_bytes(page)


def rewrite_links(app: object, name: str, source: list[str]) -> None:
    """Turn links between folders of the repository into links between pages of the site."""
    if name.startswith("tutorials/"):
        source[0] = source[0].replace("](../docs/", "](../")
    else:
        source[0] = source[0].replace("](../tutorials/", "](tutorials/")


def quote_identities(
    app: object, what: str, name: str, thing: object, options: object, lines: list
) -> None:
    """Quote name@hash, an encoder's identity, so that it does not become an e-mail link."""
    lines[:] = [re.sub(r"(?<!`)\b\w+@\w+\b(?!`)", r"``\g<0>``", line) for line in lines]


def signature_of_init(
    app: object, what: str, name: str, thing: type, options: object, *signature: str
) -> object:
    """Show the signature of `Encoder.__init__`, which the hub's base class hides."""
    if what != "class" or signature[0] != "(*args, **kwargs)":
        return None
    from sphinx.util import inspect

    made = inspect.signature(thing.__init__, bound_method=True)
    return inspect.stringify_signature(
        made, show_annotation=False, show_return_annotation=False
    ), None


def setup(app):  # noqa: ANN001, ANN201
    """Write the generated pages before Sphinx looks for pages."""
    import method_figure

    method_figure.write(DOCS / "_static")
    write_command_line()
    copy_tutorials()
    app.connect("source-read", rewrite_links)
    app.connect("build-finished", finish)
    app.connect("autodoc-process-docstring", quote_identities)
    app.connect("autodoc-process-signature", signature_of_init)
