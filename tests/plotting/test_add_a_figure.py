"""The page that shows how to add a figure: its code runs as it is printed."""

import re
from pathlib import Path

import matplotlib.pyplot as plt

PAGE = Path(__file__).parents[2] / "docs" / "add_a_figure.md"


def test_the_example_draws_every_unit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        exec(block, names)
    ax = names["ax"]
    assert ax.get_title(loc="left") == "40 units"
    assert sum(len(line.get_xdata()) for line in ax.lines) == 40
    assert (tmp_path / "rates.png").stat().st_size > 0
    plt.close("all")
