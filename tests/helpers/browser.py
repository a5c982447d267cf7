"""A real browser without a window, for tests of pages; they skip where there is none."""

from __future__ import annotations

import json
import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def open_browser(profile):
    """Give a Chromium with a new profile in an empty folder."""
    pytest.importorskip("selenium", reason="needs selenium: pip install selenium")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    driver = shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("needs chromium and chromedriver: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options, Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def show(browser, path, *, width=1280, height=900, dark=False, reduced_motion=True):
    """Open a file as a window of this size (CSS pixels) shows it; forget what was logged."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = {
        "prefers-color-scheme": "dark" if dark else "light",
        "prefers-reduced-motion": "reduce" if reduced_motion else "no-preference",
    }
    features = [{"name": name, "value": value} for name, value in wanted.items()]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get("about:blank")
    messages(browser)
    requests(browser)
    browser.get(path.as_uri())


def messages(browser):
    """Return what was written to the console since asked last: errors, warnings, refusals."""
    return [entry["message"] for entry in browser.get_log("browser")]


def requests(browser):
    """Return the addresses that were loaded since asked last, without what a policy stopped."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    failed = [one["params"] for one in events if one["method"] == "Network.loadingFailed"]
    stopped = {one["requestId"] for one in failed if one.get("blockedReason") == "csp"}
    sent = [one["params"] for one in events if one["method"] == "Network.requestWillBeSent"]
    return [one["request"]["url"] for one in sent if one["requestId"] not in stopped]
