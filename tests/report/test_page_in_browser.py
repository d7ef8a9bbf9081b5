"""The page in a real browser: silent, offline, legible in both schemes, and never too wide."""

import json
import shutil

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not both on PATH"
)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page_file):
    """The page, freshly loaded, at a desktop's width."""
    show(browser, 1300, "light")
    browser.get_log("performance"), browser.get_log("browser")
    browser.get(page_file.as_uri())
    return browser


def show(browser, width, scheme):
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {
        "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {
        "features": [{"name": "prefers-color-scheme", "value": scheme}]})


def colours(browser):
    """Computed colours: page, body text, a tick label and a curve of the first plot."""
    return browser.execute_script("""
        const of = (selector, what) => getComputedStyle(document.querySelector(selector))[what];
        return {page: of('body', 'backgroundColor'), ink: of('body', 'color'),
                surface: of('figure', 'backgroundColor'), label: of('figure svg text', 'fill'),
                muted: of('figcaption', 'color')};
    """)


def luminance(colour):
    """Relative luminance of `rgb(r, g, b)`, WCAG 2."""
    parts = [int(p) / 255 for p in colour[colour.index("(") + 1:-1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, two):
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def test_console_is_silent_and_no_request_leaves_the_page(opened, page_file):
    opened.execute_script("document.querySelectorAll('thead button').forEach(b => b.click())")
    assert opened.get_log("browser") == []
    messages = [json.loads(entry["message"])["message"] for entry in opened.get_log("performance")]
    # Chromium's own traffic (its new-tab page, its updater) has another document.
    requests = [m["params"]["request"]["url"] for m in messages
                if m["method"] == "Network.requestWillBeSent"
                and m["params"]["documentURL"] == page_file.as_uri()]
    assert page_file.as_uri() in requests
    leaving = [u for u in requests if u != page_file.as_uri() and not u.startswith("data:")]
    assert leaving == []


def test_text_is_legible_in_both_schemes(opened):
    seen = {}
    for scheme in ("light", "dark"):
        show(opened, 1300, scheme)
        seen[scheme] = colours(opened)
        assert contrast(seen[scheme]["ink"], seen[scheme]["page"]) > 7
        assert contrast(seen[scheme]["label"], seen[scheme]["surface"]) > 4.5
        assert contrast(seen[scheme]["muted"], seen[scheme]["surface"]) > 4.5
    assert luminance(seen["light"]["page"]) > 0.8 > 0.1 > luminance(seen["dark"]["page"])
    assert luminance(seen["light"]["label"]) < luminance(seen["dark"]["label"])


@pytest.mark.parametrize("width", [360, 400, 800, 1400])
def test_page_is_never_wider_than_the_window(opened, width):
    show(opened, width, "light")
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [400, 1400])
def test_words_in_plots_are_readable_and_inside_their_plot(opened, width):
    show(opened, width, "light")
    found = opened.execute_script("""
        return [...document.querySelectorAll('figure svg')].flatMap(svg => {
            const box = svg.getBoundingClientRect();
            const scale = box.width / svg.viewBox.baseVal.width;
            return [...svg.querySelectorAll('text')].map(text => {
                const r = text.getBoundingClientRect();
                return {text: text.textContent, size: scale * parseFloat(text.style.fontSize),
                        out: Math.max(box.left - r.left, r.right - box.right,
                                      box.top - r.top, r.bottom - box.bottom)};
            });
        });
    """)
    assert len(found) > 50
    for word in found:
        assert 7.5 < word["size"] < 20, word
        assert word["out"] < 4, word


def test_a_click_sorts_the_runs_and_another_turns_the_order(opened):
    def losses():
        return opened.execute_script("""
            const table = document.querySelector('table.sortable');
            const heads = [...table.tHead.rows[0].cells].map(c => c.textContent);
            const column = heads.findIndex(text => text.startsWith('loss'));
            table.tHead.rows[0].cells[column].querySelector('button').click();
            return [...table.tBodies[0].rows].map(row => row.cells[column].dataset.key ?? null);
        """)

    for turned in (False, True):
        shown = losses()
        assert shown[-1] is None  # the diverged run has no loss: last either way
        values = [float(value) for value in shown[:-1]]
        assert len(values) >= 24 and values == sorted(values, reverse=turned)
