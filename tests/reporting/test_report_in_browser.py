"""The report page as people use it: in a real browser, by mouse and by keyboard."""

from __future__ import annotations

import numpy as np
import pynapple as nap
import pytest
from browser import messages, open_browser, requests, show
from embedded_groups import TINY, embedded, fitted

from pynapple_nuclr.columns import add_columns, embeddings
from pynapple_nuclr.reporting import report

HOSTILE = [
    "</script><script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "日本語",
    "שלום",
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with open_browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Thirty units with predictions and their probabilities; units 1 and 7 are silent."""
    rng = np.random.default_rng(0)
    vectors = np.array(embeddings(embedded(30, seed=1, separation=0.6, silent=[0, 2])))
    units = nap.TsGroup(
        {3 * i + 1: nap.Ts(np.sort(rng.uniform(0, 60, 300))) for i in range(30)},
        time_support=nap.IntervalSet(0, 60),
        metadata={"depth": np.arange(30.0)},
    )
    summary = {
        "nuclr_stability": np.where(np.arange(30) < 3, np.nan, rng.uniform(0.5, 1, 30)),
        "nuclr_n_windows": np.isfinite(vectors[:, 0]) * 6,
        "nuclr_encoder": [TINY] * 30,
    }
    units = add_columns(units, vectors=vectors, summary=summary)
    units = fitted().annotate(units, probabilities=True)
    return report(units, tmp_path_factory.mktemp("page") / "page.html", name="day 1")


@pytest.fixture
def opened(browser, page):
    show(browser, page)
    yield browser
    assert messages(browser) == []


def find(browser, selector):
    return browser.find_element("css selector", selector)


def texts(browser, selector):
    """The texts of all elements that can be seen."""
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])]"
        ".filter(one => one.checkVisibility()).map(one => one.textContent)",
        selector,
    )


def head_of(browser, name):
    """The head of a column of the table of units, and its place from 1 on."""
    heads = browser.find_elements("css selector", "#units thead th")
    (found,) = [(one, i) for i, one in enumerate(heads, 1) if one.text.startswith(name)]
    return found


def column(browser, name):
    """What stands in a column of the table of units, top to bottom."""
    return texts(browser, f"#units tbody tr > :nth-child({head_of(browser, name)[1]})")


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


def key(name):
    from selenium.webdriver.common.keys import Keys

    return getattr(Keys, name)


def focus(browser, selector):
    browser.execute_script("document.querySelector(arguments[0]).focus()", selector)


def heading(browser):
    return find(browser, "#card-title").text


def place_of(browser, unit):
    """Where a unit's row is in the data."""
    ids = "JSON.parse(document.getElementById('data').textContent).ids"
    return browser.execute_script(f"return {ids}.indexOf(arguments[0])", str(unit))


def set_confidence(browser, value):
    browser.execute_script(
        "const it = document.getElementById('confidence'); it.value = arguments[0];"
        "it.dispatchEvent(new Event('input', {bubbles: true}))",
        value,
    )


# It loads


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_loads_without_errors_or_network_and_fits(browser, page, width, dark):
    show(browser, page, width=width, dark=dark)
    assert find(browser, "#count").text == "30 of 30 shown"
    assert messages(browser) == []
    assert [one for one in requests(browser) if not one.startswith("data:")] == [page.as_uri()]
    wide, inner = browser.execute_script(
        "return [document.documentElement.scrollWidth, window.innerWidth]"
    )
    assert inner == width and wide <= width
    colour = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (colour == "rgb(255, 255, 255)") is not dark


def test_the_policy_stops_what_is_not_the_pages_own(browser, page):
    show(browser, page)
    browser.execute_script(
        "const it = document.createElement('img'); it.src = 'http://127.0.0.1:9/x.png';"
        "document.body.append(it)"
    )
    browser.execute_async_script("setTimeout(arguments[0], 200)")
    assert [one for one in requests(browser) if one.startswith("http")] == []
    assert any("Content Security Policy" in one for one in messages(browser))


# Cards


def test_a_click_on_a_point_opens_its_card(opened):
    row = place_of(opened, 22)
    find(opened, f"#p{row}").click()
    assert heading(opened) == "Unit 22"
    card = find(opened, "#card").text
    for words in ("Predicted", "confidence", "Rate", "Stability", "Windows", "depth", "7"):
        assert words in card
    assert len(texts(opened, "#card .bars li")) == 3
    assert len(texts(opened, "#card .near li")) == 6
    assert len(opened.find_elements("css selector", "#card svg.plot")) == 2
    assert find(opened, f"#p{row}").get_attribute("aria-selected") == "true"
    assert opened.execute_script("return document.querySelectorAll('tr.chosen').length") == 1


def test_hovering_says_who_it_is(opened):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(opened).move_to_element(find(opened, f"#p{place_of(opened, 22)}")).perform()
    assert find(opened, "#tip").text.startswith("Unit 22")


def test_the_keyboard_reaches_points_and_opens_cards(opened):
    focus(opened, "#search")
    press(opened, key("TAB"), key("TAB"))  # past "Show all", to the map
    assert opened.execute_script("return document.activeElement.id") == "map"
    press(opened, key("ARROW_RIGHT"))
    first = find(opened, "#map").get_attribute("aria-activedescendant")
    press(opened, key("ARROW_LEFT"))
    second = find(opened, "#map").get_attribute("aria-activedescendant")
    assert first != second
    x = [
        opened.execute_script(f"return {one}.getBoundingClientRect().x") for one in (first, second)
    ]
    assert x[0] > x[1]
    press(opened, key("ENTER"))
    name = find(opened, f"#{second}").get_attribute("aria-label")
    assert name.startswith(f"{heading(opened)},")
    assert opened.execute_script("return document.activeElement.id") == "card-title"
    press(opened, key("ESCAPE"))
    assert opened.execute_script("return document.activeElement.id") == "map"
    assert heading(opened) == "No unit chosen."


def test_rows_open_cards_and_get_the_focus_back(opened):
    focus(opened, "#units tbody tr:nth-child(5) button")
    press(opened, key("ENTER"))
    assert heading(opened) == "Unit 13"
    assert opened.execute_script("return document.activeElement.id") == "card-title"
    press(opened, key("ESCAPE"))
    assert opened.execute_script("return document.activeElement.textContent") == "13"


def test_silent_units_have_a_card_and_no_point(opened):
    find(opened, "#units tbody tr:nth-child(1) button").click()
    assert heading(opened) == "Unit 1"
    assert "No embedding to compare" in find(opened, "#card").text
    assert opened.find_elements("css selector", "#p0") == []


def test_a_card_leads_to_its_neighbours_and_to_the_next_row(opened):
    find(opened, "#units tbody tr:nth-child(5) button").click()
    neighbour = find(opened, "#card .near button")
    name = neighbour.text
    neighbour.click()
    assert heading(opened) == f"Unit {name}"
    find(opened, "#units tbody tr:nth-child(5) button").click()
    find(opened, "[aria-label^=Next]").click()
    assert heading(opened) == "Unit 16"


# Filters


def test_a_label_filter_changes_the_count_and_the_table(opened):
    label, *_ = texts(opened, ".check bdi")
    mine = column(opened, "Predicted").count(label)
    assert 0 < mine < 30
    find(opened, ".check input").click()
    assert find(opened, "#count").text == f"{30 - mine} of 30 shown"
    assert len(column(opened, "Predicted")) == 30 - mine and label not in column(
        opened, "Predicted"
    )
    faded = opened.execute_script("return document.querySelectorAll('.point.out').length")
    assert faded == mine
    at_once = """
        document.querySelector("#show-all").click();
        return document.querySelector("#count").textContent;
    """
    assert opened.execute_script(at_once) == "30 of 30 shown"


def test_a_confidence_filter_keeps_the_sure(opened):
    sure = [float(one) for one in column(opened, "Confidence") if one != "–"]
    least = sorted(sure)[len(sure) // 2] + 0.005  # between two of the numbers shown
    set_confidence(opened, f"{least:.2f}")
    kept = [float(one) for one in column(opened, "Confidence")]
    assert kept and min(kept) >= round(least, 2) - 0.005
    assert find(opened, "#count").text == f"{len(kept)} of 30 shown"
    find(opened, "#search").send_keys("no such unit")
    assert column(opened, "Unit") == [] and texts(opened, "#no-unit") == [
        "No unit passes the filters."
    ]


def test_units_are_found_by_id(opened):
    find(opened, "#search").send_keys("22")
    assert column(opened, "Unit") == ["22"]


# Tables


def test_tables_sort_by_click_and_by_keyboard(opened):
    head, place = head_of(opened, "Stability")
    find(opened, f"#units th:nth-child({place}) button").click()
    stability = column(opened, "Stability")
    assert head.get_attribute("aria-sort") == "ascending"
    assert stability[-3:] == ["–"] * 3  # whoever has none is last
    known = [float(one) for one in stability[:-3]]
    assert known == sorted(known)
    focus(opened, f"#units th:nth-child({place}) button")
    press(opened, key("SPACE"))
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(one) for one in column(opened, "Stability")[:-3]] == known[::-1]
    find(opened, "#units th:nth-child(1) button").click()
    assert column(opened, "Unit") == [str(3 * i + 1) for i in range(30)]  # as numbers: 4 before 10


def test_the_table_of_labels_sorts(opened):
    find(opened, ".pair th:nth-child(2) button").click()
    counts = [int(one) for one in texts(opened, ".pair tbody td:nth-child(2)")]
    assert len(counts) >= 3 and counts == sorted(counts)


# What a screen reader reads


def test_everything_has_a_name(opened):
    opened.execute_script("document.querySelectorAll('#units button')[9].click()")
    nodes = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = ("button", "checkbox", "slider", "searchbox", "listbox", "option", "table", "heading")
    found = [
        one for one in nodes if one.get("role", {}).get("value") in roles and not one["ignored"]
    ]
    nameless = [one for one in found if not one.get("name", {}).get("value")]
    roles = {one["role"]["value"] for one in found}
    assert roles >= {"button", "checkbox", "slider", "searchbox", "listbox", "option", "heading"}
    assert [one["role"]["value"] for one in nameless] == []
    assert find(opened, "#count").get_attribute("aria-live") == "polite"


def test_focus_is_seen(opened):
    focus(opened, "#search")
    press(opened, key("TAB"))
    outline = opened.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


# Hostile words, and other shapes of data


def test_words_from_files_are_shown_and_never_run(browser, tmp_path):
    names = [f"{name} {i}" for i, name in enumerate(HOSTILE * 3)]
    frames = np.random.default_rng(0).normal(size=(300, 12))
    units = nap.TsdFrame(np.arange(300) / 10, frames, columns=names)
    units.set_info(kind=np.array(HOSTILE * 3), note=np.array(HOSTILE[::-1] * 3))
    vectors = np.random.default_rng(1).normal(size=(12, 5))
    encoder = "<b>bold</b>@0a1b2c3d"
    units = add_columns(units, vectors=vectors, summary={"nuclr_encoder": [encoder] * 12})
    path = report(units, tmp_path / "page.html", target="kind", name=HOSTILE[0])
    for width in (1280, 390):
        show(browser, path, width=width)
        assert find(browser, "h1").text == HOSTILE[0]
        assert sorted(texts(browser, ".check bdi")) == sorted(HOSTILE)
        assert column(browser, "Unit") == names
        assert browser.execute_script("return document.querySelectorAll('script').length") == 2
        assert browser.execute_script("return document.querySelectorAll('img, b').length") == 0
        for row in (1, 2, 4):
            find(browser, f"#units tbody tr:nth-child({row}) button").click()
            assert heading(browser) == f"Unit {names[row - 1]}"
            assert (HOSTILE[::-1] * 3)[row - 1] in find(browser, "#card").text
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert messages(browser) == []


@pytest.mark.parametrize(
    ("units", "heads"),
    [
        (lambda: embedded(30), ["Unit", "Rate (Hz)", "Windows"]),
        (lambda: embedded(4, silent=[0, 1]), ["Unit", "Rate (Hz)", "Windows"]),
        (lambda: embedded(30, modality="calcium"), ["Unit", "Windows"]),
    ],
)
def test_pages_without_labels_work(browser, units, heads, tmp_path):
    show(browser, report(units(), tmp_path / "page.html"))
    assert texts(browser, "#units thead th") == heads
    assert texts(browser, "#label-filter") == [] and texts(browser, "#confidence-filter") == []
    find(browser, "#units tbody tr:nth-child(3) button").click()
    assert len(opened_plots(browser)) >= 1
    assert messages(browser) == []


def opened_plots(browser):
    return browser.find_elements("css selector", "#card svg.plot")


def test_it_prints_without_controls(opened):
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    seen = texts(opened, "#confidence, #search, #units")
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert seen == []


def test_sixty_labels_fit_on_a_phone(browser, tmp_path):
    names = np.array([f"a long name of a kind of neuron, number {i % 60}" for i in range(120)])
    units = add_columns(
        nap.TsGroup({i: nap.Ts([0.1, 0.5]) for i in range(120)}, metadata={"kind": names}),
        vectors=np.random.default_rng(0).normal(size=(120, 5)),
        summary={"nuclr_encoder": [TINY] * 120},
    )
    show(browser, report(units, tmp_path / "page.html", target="kind"), width=390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    find(browser, "#units tbody tr:nth-child(3) button").click()
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert messages(browser) == []


@pytest.mark.parametrize("n_kinds", [1, 3, 7])
def test_names_along_depth_differ_and_do_not_touch(browser, n_kinds, tmp_path):
    kinds = [f"a region of the brain, number {i % n_kinds}" for i in range(28)]
    units = embedded(28, kind=kinds, depth=np.arange(28.0))
    show(browser, report(units, tmp_path / "page.html", target="kind"))
    names, ends = browser.execute_script(
        "const all = [...document.querySelectorAll('#kinds .wide text[text-anchor=middle]')];"
        "const boxes = all.map(one => one.getBBox());"
        "return [all.map(one => one.textContent), boxes.map(one => [one.x, one.x + one.width])]"
    )
    assert len(set(names)) == n_kinds and all("…" in one for one in names if n_kinds > 1)
    assert all(end < start for (_, end), (start, _) in zip(ends, ends[1:], strict=False))
