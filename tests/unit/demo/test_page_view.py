"""The page of `ferryman demo --keep`: whatever people write is text on it, and nothing else."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from daemon.demo.page_view import Bubble, Shown, page, parts

SPITEFUL = (
    "</li><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)' autofocus='",
    "javascript:alert(1)",
    "&lt;b&gt;",
    "<!-- ",
    "]]>",
    "\u202egnp.exe\u0000\x1b[2J",
)
TEXTS = st.one_of(st.sampled_from(SPITEFUL), st.text(), st.text("<>&\"'=/! \n\u202e\x1bab"))
ATTRIBUTES = st.dictionaries(TEXTS, TEXTS, max_size=3)
ORDERS = st.lists(st.fixed_dictionaries({"platform": TEXTS, "topic": TEXTS, "other": TEXTS}), max_size=2)


def shown(text: str, **told: Any) -> Shown:
    bubbles = [
        Bubble(7301, "customer", text, beneath=text),
        Bubble(7302, "bot", text, (text, "Short"), text),
        Bubble(7303, "agents", text),
    ]
    plain: dict[str, Any] = {"labels": [text], "attributes": {text: text}, "of_talk": {text: text}, "orders": []}
    return Shown(**{"name": text, "phone": "+46701740625", "bubbles": bubbles, **plain, **told})


class Read(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.values: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        self.values += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


@given(text=TEXTS, attributes=ATTRIBUTES, orders=ORDERS)
def test_no_text_becomes_a_part_of_the_page(text: str, attributes: dict[str, str], orders: list[Any]) -> None:
    told = {"attributes": attributes, "of_talk": attributes, "orders": orders}
    harmless = {
        "attributes": {f"a{n}": "b" for n in range(len(attributes))},
        "of_talk": {f"a{n}": "b" for n in range(len(attributes))},
        "orders": [{"platform": "a", "topic": "b"} for _ in orders],
    }
    plain = "plain" if text else ""
    assert Read(page(shown(text, **told))).tags == Read(page(shown(plain, **harmless))).tags


def test_what_is_written_is_shown_as_it_is_without_characters_that_steer() -> None:
    read = Read(parts(shown('<b>a & "b"</b>\nline two\u202e\x1b[2J')))
    assert '<b>a & "b"</b>\nline two[2J' in read.text
    assert not set("\u202e\x1b") & set(read.text + "".join(read.values))


def test_nothing_is_inline_and_nothing_comes_from_another_host() -> None:
    read = Read(page(shown("plain")))
    for tag, names in read.tags:
        assert tag not in ("style", "iframe", "img", "base", "object")
        assert not any(name.startswith("on") or name == "style" for name in names)
        assert tag != "script" or "src" in names
    assert [value for value in read.values if "//" in value] == []
