"""A headless Chromium for the tests of the page, and the few things that they do with it."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-quic --disable-dev-shm-usage"
)


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator:
    """Start a browser with an empty profile; skip the test where it or its driver is missing."""
    webdriver = pytest.importorskip(
        "selenium.webdriver", reason="selenium is not installed; pip install -e '.[dev]'"
    )
    from selenium.webdriver.chrome.service import Service

    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver is None:
        pytest.skip(
            "a browser test needs chromium and chromedriver; on Debian: "
            "apt-get install chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in [*FLAGS.split(), f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    session = webdriver.Chrome(options=options, service=Service(driver))
    session.set_script_timeout(20)
    try:
        yield session
    finally:
        session.quit()


def resize(browser, width, height=900):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def texts(browser, selector):
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
    return browser.execute_script(script, selector)


def count(browser, selector):
    return len(texts(browser, selector))


def click(browser, selector):
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def wait_for(condition, message):
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, message
        time.sleep(0.05)


def emulate_scheme(browser, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def background(browser):
    return browser.execute_script("return getComputedStyle(document.body).backgroundColor")
