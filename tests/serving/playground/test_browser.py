"""The page in Debian's Chromium, over a real server of the tiny retriever."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest

from serving.playground.live_users import LiveUsers
from souk_client.client import Client
from tests.serving import tiny_retriever
from tests.serving.playground import browser
from tests.serving.playground.conftest import EVIL, item_id
from tests.serving.playground.live import following

pytestmark = pytest.mark.skipif(
    browser.executable() is None, reason="Chromium is not installed; Debian's package is `chromium`"
)

QUIET = "!document.body.classList.contains('busy') && document.querySelector('.hit, .start, .side .banner')"


@pytest.fixture(scope="module")
def shared_tab() -> Iterator[browser.Tab]:
    with browser.chromium() as tab:
        yield tab


@pytest.fixture
def tab(shared_tab: browser.Tab) -> Iterator[browser.Tab]:
    """The browser's one tab, which must not have complained of anything when the test ends."""
    shared_tab.size(1280, 900)
    shared_tab.events.clear()
    yield shared_tab
    assert shared_tab.complaints() == []
    shared_tab.open("about:blank")


def _show(tab: browser.Tab, url: str) -> None:
    tab.open(url)
    tab.wait(QUIET)


def _found(tab: browser.Tab, after: str) -> list[str]:
    """The titles in the first list, once the page's address has `after`."""
    tab.wait(f"decodeURIComponent(location.search).includes({after!r})")
    tab.wait(QUIET)
    return tab.texts(".side:first-child .hit .name")


def _set(tab: browser.Tab, box: str, value: str) -> None:
    """Sets a box and tells the page so, as leaving it does."""
    tab.run(f"document.getElementById({box!r}).value = {value!r}")
    tab.run(f"document.getElementById({box!r}).dispatchEvent(new Event('change'))")


def _asked(tab: browser.Tab) -> dict[str, list[str]]:
    return parse_qs(urlsplit(tab.run("location.href")).query)


def test_a_search_is_typed_and_answered_by_keyboard_alone(tab, playground, server):
    _show(tab, playground.url)
    assert tab.run("document.activeElement.id") == "query"
    tab.type("blue kettle")
    tab.enter()
    with Client(server.address) as client:
        expected = [tiny_retriever.TITLES[int(hit.item_id.split("-")[1])] for hit in client.search("blue kettle")]
    titles = _found(tab, "q=blue+kettle")
    assert titles == [EVIL if title == "green lamp" else title for title in expected]
    assert tab.texts(".hit .place b") == [str(rank) for rank in range(1, 11)]
    assert "Blue · Home › Kettle" in tab.text()
    assert " ms" in tab.texts(".latency")[0]
    assert tab.hosts() == {playground.url.rstrip("/")}
    # "/" leads back to the query from anywhere.
    tab.run("document.querySelector('.hit .leave').focus()")
    tab.press("/", 191, "/")
    assert tab.run("document.activeElement.id") == "query"


def test_a_title_with_markup_is_text(tab, playground):
    _show(tab, f"{playground.url}?q=green+lamp&user=%3Cimg+src%3Dx+onerror%3Dalert(1)%3E")
    assert tab.texts(".hit .name")[0] == EVIL
    assert EVIL in tab.text()
    assert tab.run("document.querySelectorAll('img, iframe, object, .hit script').length") == 0
    assert tab.run("document.title") == "green lamp · Souk playground"


def test_a_script_that_gets_in_all_the_same_does_not_run(shared_tab, playground):
    _show(shared_tab, playground.url)
    for attack in (
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=window.ran=1>')",
        "document.createElement('a').setAttribute('onclick', 'window.ran = 1')",
    ):
        assert "Error" in shared_tab.run(
            f"(() => {{ try {{ {attack}; return '' }} catch (error) {{ return error.name }} }})()"
        )
    assert shared_tab.run("window.ran === undefined")


def test_a_user_is_found_as_one_types_and_shown_with_titles(tab, playground):
    _show(tab, f"{playground.url}?q=shirt")
    plain = tab.texts(".hit .name")
    tab.run("document.getElementById('user').focus()")
    tab.type("ann")
    tab.wait("document.querySelectorAll('#user-options [role=option]').length === 3")
    assert tab.run("document.getElementById('user').getAttribute('aria-expanded')") == "true"
    tab.press("ArrowDown", 40)
    assert tab.run(
        "document.getElementById(document.getElementById('user').getAttribute('aria-activedescendant')).textContent"
    ).startswith("anna")
    tab.enter()
    assert _found(tab, "user=anna") != plain
    text = tab.text()
    for words in ("crème kettle", "black lamp · Black", "personalized for anna"):
        assert words in text
    assert "ordered before" in tab.texts(".tag")
    tab.run(
        "[...document.querySelectorAll('#behavior button')].find((one) => one.textContent === 'black lamp').click()"
    )
    assert _found(tab, "q=black+lamp")[0] == "black lamp"
    tab.run("document.querySelector('#profile .chip button').click()")
    tab.wait("!location.search.includes('user=')")
    assert tab.run("document.getElementById('behavior-section').hidden")


def test_two_sides_show_what_differs(tab, open_playground, server):
    playground = open_playground(("souk", server.address), ("souk", server.address.replace("127.0.0.1", "localhost")))
    _show(tab, f"{playground.url}?q=shirt&user=anna")
    options = "[...document.getElementById('right').options].map((one) => one.value)"
    first, second = f"souk@{server.address}", f"souk@{server.address.replace('127.0.0.1', 'localhost')}"
    assert tab.run(options) == ["", first, f"{first}/3", second, f"{second}/3"]
    _set(tab, "right", f"{second}/3")
    tab.wait("document.querySelectorAll('.side').length === 2")
    assert tab.texts(".hit.only") == []
    assert set(tab.texts(".move > [aria-hidden]")) == {"="}
    tab.run("document.getElementById('plain').click()")
    tab.wait("document.querySelector('.hit.only')")
    left, right = (
        tab.run(f"[...document.querySelectorAll('.side.{side} .hit')].map((one) => one.dataset.item)")
        for side in ("left", "right")
    )
    for own, other, side in ((left, right, "left"), (right, left, "right")):
        expected = []
        for rank, item in enumerate(own):
            places = other.index(item) - rank if item in other else None
            sign = "" if places is None else f"▲ {places}" if places > 0 else f"▼ {-places}" if places else "="
            expected.append(sign or "only here")
        marks = tab.run(
            f"[...document.querySelectorAll('.side.{side} .move')]"
            ".map((one) => (one.querySelector('span[aria-hidden]') ?? one).textContent)"
        )
        assert marks == expected
    assert f"{len(set(left) & set(right))} of the first 10 are on both sides" in tab.text()


def test_filters_are_sent_and_a_model_ignoring_them_is_named(tab, playground):
    _show(tab, f"{playground.url}?q=blue+kettle")
    tab.run("document.getElementById('brand').focus()")
    tab.type("red")
    tab.wait("document.querySelector('#brand-options [role=option]')")
    tab.enter()
    _found(tab, "brand=Red")
    assert tab.texts("#brand-chips .chip") == ["Red×"]
    assert "This model ignores the brand filter" in tab.texts(".side .banner")[0]
    tab.run("document.querySelector('.hit .leave').click()")
    _found(tab, f"exclude={item_id('blue kettle')}")
    assert "the exclusion of items (1 of 10 items found do not fit)" in tab.texts(".side .banner")[0]
    _set(tab, "max", "1000")
    _found(tab, "max=1000")
    tab.run("document.getElementById('clear').click()")
    tab.wait("!location.search.includes('brand=')")
    tab.wait(QUIET)
    assert tab.texts(".side .banner") == []
    assert _asked(tab).keys() == {"q", "left"}


def test_a_link_holds_all_that_is_shown_and_back_leads_back(tab, playground, server):
    link = (
        f"?q=blue+kettle&user=anna&rc=on&min=1&max=99&left=souk%40{server.address}&right=souk%40{server.address}%2F3"
        "&brand=Blue&brand=Red&category=Home+%3E+Kettle&exclude=x&k=10&plain=1"
    )
    _show(tab, playground.url + link)
    assert tab.run(
        "['query', 'control', 'min', 'max', 'k', 'right'].map((id) => document.getElementById(id).value)"
    ) == ["blue kettle", "on", "1", "99", "10", f"souk@{server.address}/3"]
    assert tab.texts("#brand-chips .chip, #category-chips .chip, #excluded .chip") == [
        "Blue×",
        "Red×",
        "Home > Kettle×",
        "x×",
    ]
    assert "relevance control: only what the query names" in tab.text()
    before = _asked(tab)
    _set(tab, "query", "red shoes")
    tab.run("document.getElementById('search').requestSubmit()")
    assert _found(tab, "q=red+shoes")
    assert _asked(tab) == {**before, "q": ["red shoes"]}
    tab.run("history.back()")
    assert _found(tab, "q=blue+kettle")[0] == "blue kettle"
    assert _asked(tab) == before


def test_an_error_of_the_server_is_a_sentence(tab, playground, server):
    _show(tab, f"{playground.url}?q=red&left=souk%40{server.address}&right=souk%40{server.address}%2F77")
    assert "Could not find version 77" in tab.texts(".side.right [role=alert]")[0]
    assert len(tab.texts(".side.left .hit")) == 10
    assert "version 77 (gone)" in tab.run("document.getElementById('right').selectedOptions[0].textContent")


def test_controls_have_names_and_phones_need_no_side_scrolling(tab, playground):
    tab.size(390, 844, phone=True)
    _show(tab, f"{playground.url}?q=blue+kettle&user=anna")
    tab.run("document.getElementById('controls').open = true")
    nodes = tab.call("Accessibility.getFullAXTree")["nodes"]
    controls = ("textbox", "searchbox", "combobox", "button", "checkbox", "spinbutton")
    nameless = [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"] and node["role"]["value"] in controls and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    assert tab.run("document.documentElement.scrollWidth") <= 390


def test_a_click_is_sent_and_the_list_changes(tab, open_playground, server, redis_url):
    playground = open_playground(("souk", server.address), users=LiveUsers(redis_url))
    with following(redis_url):
        _show(tab, f"{playground.url}?q=shirt&user=anna")
        before = tab.texts(".hit .score")
        tab.run("document.querySelectorAll('.hit .click')[4].click()")
        tab.wait("!document.getElementById('clicked').hidden")
        tab.wait(QUIET)
    liked = tab.texts("#behavior li.fresh")[0].split(" · ")[0]
    assert tab.texts("#clicked")[0].startswith(f"anna clicked {liked};")
    assert "clicked before" in tab.texts(".tag")
    assert tab.texts(".hit .score") != before
