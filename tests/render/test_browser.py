"""Guards the page in a real browser: filters, address, keyboard, errors, accessibility.

Needs Playwright, axe and the system's Chromium (`tox -e browser`); skipped where they are not.
"""

import shutil

import made
import pytest
from recorded import whole

from c10k.judge import judge
from c10k.render import html

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def browser():
    """One headless browser for all tests here."""
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A file:// address of a page with three servers, four counts and a storm."""
    session = whole()
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html.render([html.PageSession("s", session, judge(session))]))
    return path.as_uri()


@pytest.fixture
def opened(browser, address):
    """opened(hash, **context) → the page, which must neither complain nor ask for anything."""
    contexts, complaints = [], []

    def go(fragment="", **options):
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda r: r.url.startswith("http") and complaints.append(r.url))
        page.goto(address + fragment)
        return page

    yield go
    for context in contexts:
        context.close()
    assert complaints == []


def shown(page):
    """The servers in the visible rows of the first table, and their client counts."""
    rows = page.locator("table").first.locator("tbody tr:visible")
    return {
        (row.get_attribute("data-server"), row.get_attribute("data-clients")) for row in rows.all()
    }


def marks(page, server):
    """The visible marks of a server in the first picture."""
    inside = page.locator(".picture").first
    return inside.locator(f'[role=graphics-symbol][aria-label^="{server}"]:not([hidden])').count()


def test_filters_change_rows_pictures_and_address_and_survive_a_reload(opened):
    """What is not ticked is gone everywhere, and the address says so to whoever it is sent to."""
    page = opened()
    assert len(shown(page)) == 12
    assert marks(page, "trio_streams") > 0
    page.get_by_label("trio", exact=True).uncheck()
    page.get_by_label("10,000", exact=True).uncheck()
    expected = {(s, n) for s in ("asyncio_streams", "threads_sockets") for n in ("1", "10", "100")}
    assert shown(page) == expected
    assert marks(page, "trio_streams") == 0
    assert marks(page, "threads_sockets") > 0
    assert page.url.endswith("#framework=trio&clients=10000")
    page.reload()
    assert shown(page) == expected
    again = opened("#framework=trio&clients=10000")
    assert shown(again) == expected
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelectorAll('tr[data-server][hidden]').length === 0")
    assert len(shown(page)) == 12


def test_the_keyboard_reaches_every_control(opened):
    """Tab goes to the skip link, each tick box, the button and each wide table."""
    page = opened()
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(e => e.value && e.name ? e.name + e.value : e.className || e.tagName)"
                "(document.activeElement)"
            )
        )
    controls = page.locator("input").all()
    assert {
        each.get_attribute("name") + each.get_attribute("value") for each in controls
    } <= reached
    assert {"skip", "BUTTON", "wide"} <= reached
    page.locator("input").first.focus()
    page.keyboard.press("Space")
    page.wait_for_function("location.hash.startsWith('#framework=')")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_wrong_for_those_who_cannot_see_it(opened, scheme):
    """axe finds no serious fault, contrast among them, in light and in dark."""
    page = opened(color_scheme=scheme)
    found = axe.Axe().run(page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []


def test_a_phone_need_not_scroll_the_page_sideways(opened):
    """Wide tables scroll within themselves."""
    page = opened(viewport={"width": 375, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_labels_do_not_overlap_in_a_large_session(browser, tmp_path):
    """Fifty servers and twenty counts: axes stay legible, and the filters work."""
    names = [f"server{i}_api" for i in range(50)]
    loads = [made.load(int(1.6**i) + i) for i in range(20)]
    session = made.session(names, loads, 1)
    (tmp_path / "large.html").write_text(
        html.render([html.PageSession("s", session, judge(session))])
    )
    page = browser.new_page()
    page.goto((tmp_path / "large.html").as_uri())
    overlapping = page.evaluate(
        """() => [...document.querySelectorAll(".picture .role-axis-label")].flatMap(axis => {
          const boxes = [...axis.querySelectorAll("text")].filter(t => t.textContent
            && t.style.opacity !== "0" && t.getAttribute("opacity") !== "0")
            .map(t => t.getBoundingClientRect());
          return boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b =>
            a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
        }).length"""
    )
    assert overlapping == 0
    page.get_by_label("server7", exact=True).uncheck()
    assert page.locator("table").first.locator("tbody tr:visible").count() == 49 * 20
    page.close()
