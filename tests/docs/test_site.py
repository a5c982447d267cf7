"""The documentation site: pages of public names, links, measured numbers, the build."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import pynapple_nuclr as nap_nuclr
from pynapple_nuclr.cli import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted((ROOT / "tutorials").glob("*.md"))]
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
MEASURED = ("benchmarks.md", "bundled_encoder.md", "real_recordings.md", "waveform_type.md")


@pytest.fixture
def at_docs(monkeypatch):
    """Find the modules beside the pages."""
    monkeypatch.syspath_prepend(str(DOCS))
    monkeypatch.delitem(sys.modules, "method_figure", raising=False)


def prose(page):
    """Return a page without its blocks of code."""
    return re.sub(r"^(`{3,}).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors(page):
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def listed():
    """Return the names in `api_reference.md`: module → names."""
    names = {}
    for block in re.findall(
        r"```\{eval-rst\}\n(.*?)```", (DOCS / "api_reference.md").read_text(), re.S
    ):
        module = re.search(r"currentmodule:: (\S+)", block).group(1)
        names.setdefault(module, []).extend(re.findall(r"^   (\w+)$", block, flags=re.MULTILINE))
    return names


def test_every_public_name_has_a_page():
    names = listed()
    assert nap_nuclr.load_reference is nap_nuclr.load_published  # the old name, still accepted
    public = set(nap_nuclr.__all__) - {"baselines", "load_reference"}
    assert set(names["pynapple_nuclr"]) <= public <= set().union(*names.values())
    assert sorted(names["pynapple_nuclr.baselines"]) == sorted(nap_nuclr.baselines.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_within_the_repository_exist(page):
    broken = []
    for link in LINK.findall(prose(page)):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_broken_links_are_found():
    here = DOCS / "faq.md"
    assert "how-many-units" in anchors(here)
    assert "how-many-apples" not in anchors(here)
    assert "how_much.md" in {link.partition("#")[0] for link in LINK.findall(prose(here))}


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", DOCS / "validation.md"], ids=lambda page: page.stem
)
def test_quoted_numbers_are_measured(page):
    measured = "".join((DOCS / name).read_text(encoding="utf-8") for name in MEASURED)
    quoted = re.findall(r"(?<![\d.])0\.\d{3}(?!\d)", prose(page))
    assert len(quoted) >= 3
    assert [number for number in quoted if number not in measured] == []


def test_the_table_of_layers_names_every_package(at_docs):
    import layers

    table = "\n".join(layers.describe())
    assert layers.PAGE.read_text(encoding="utf-8") == layers.page(), "run python docs/layers.py"
    package = Path(nap_nuclr.__file__).parent
    files = {
        path.stem for path in package.glob("*.py") if path.stem not in ("__init__", "__main__")
    }
    packages = {path.parent.name for path in package.glob("*/__init__.py")}
    assert set(re.findall(r"`(\w+)`", table)) >= files | packages
    assert "| |" not in table  # every package says what it holds


def test_the_configuration_can_be_read(at_docs):
    conf = runpy.run_path(str(DOCS / "conf.py"))
    assert conf["version"] == nap_nuclr.__version__
    assert conf["nb_execution_mode"] == "cache"


def test_versions_are_offered_where_they_lie_beside_each_other(at_docs, monkeypatch):
    assert "switcher" not in runpy.run_path(str(DOCS / "conf.py"))["html_theme_options"]
    monkeypatch.setenv("DOCS_SITE", "https://example.org/")
    conf = runpy.run_path(str(DOCS / "conf.py"))
    switcher = conf["html_theme_options"]["switcher"]
    first, *others = conf["versions"]("https://example.org/")
    assert switcher["version_match"] == first["version"] == nap_nuclr.__version__
    assert first["url"] == "https://example.org/stable/"
    assert all(one["url"].endswith(f"/{one['version']}/") for one in others)


def test_every_card_of_a_tutorial_names_its_figure():
    page = (DOCS / "tutorials.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"_static/thumbnails/(\w+)\.png", page))
    assert shown <= set(re.findall(r":link: tutorials/(\w+)", page)) and len(shown) >= 7


def test_the_figure_of_the_method_is_drawn_the_same_every_time(at_docs, tmp_path):
    import method_figure

    light, dark = method_figure.write(tmp_path)
    first = light.read_bytes()
    assert first.startswith(b"<?xml") and first != dark.read_bytes()
    method_figure.write(tmp_path)
    assert light.read_bytes() == first


def test_the_reference_of_the_command_line_names_all_commands(at_docs):
    from commands import describe

    command = get_command(app)
    page = "\n".join(describe(command, "nap-nuclr"))
    assert set(re.findall(r"^### `nap-nuclr (\S+)`", page, re.MULTILINE)) == set(command.commands)
    assert "nap-nuclr probe annotate" in page and "--no-progress" in page
    assert "[bold]" not in page


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx", reason="comes with the extra `docs`")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html"]
    where = ["-d", str(tmp_path / "doctrees"), "-D", "nb_execution_mode=off", str(DOCS)]
    site = tmp_path / "html"
    run = subprocess.run([*build, *where, str(site)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    for module, names in listed().items():
        for name in names:
            page = (site / "api" / f"{module}.{name}.html").read_text(encoding="utf-8")
            assert f'id="{module}.{name}"' in page and "<p>" in page
