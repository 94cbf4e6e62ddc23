"""Templates and files keep to what the policy of content allows, and vendored files are those that were vendored."""

from __future__ import annotations

import re
from hashlib import sha256
from importlib import import_module
from typing import Final

import pytest

from daemon.pages.assets import FOLDER, assets
from daemon.pages.rendering import TEMPLATES
from daemon.pages.routes import RANK, ROUTES

PAGES: Final = TEMPLATES.parent
MARKUP: Final = {file.name: file.read_text(encoding="utf-8") for file in TEMPLATES.glob("*.html")}
CODE: Final = {file.name: file.read_text(encoding="utf-8") for file in PAGES.glob("*.py")}
VENDORED: Final = {
    "htmx.js": "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130",
    "hx-sse.js": "18ef2761356ec1fe0bb6d92612315b37517a7c1e9856b661c5ae81fef239d103",
    "htmx-LICENSE.txt": "d3d2456f76414f2456104660ebd65aff1c04cd7966b942bdabd63f3cdb316a38",
}
"""htmx 4.0.1 of the registry npm: dist/htmx.min.js, dist/ext/hx-sse.min.js, LICENSE (0BSD)."""

FORBIDDEN: Final = {
    "a script within the page": r"<script(?![^>]*\bsrc=)",
    "a style within the page": r"<style|\sstyle\s*=",
    "a handler within the page": r"\son[a-z]+\s*=",
    "an address of script": r"javascript:",
    "a file of another host": r"(?:src|href|action)\s*=\s*[\"']?(?:https?:)?//",
    "an htmx attribute that makes code of text": r"hx-on|js:|hx-trigger=[\"'][^\"']*\[",
    "text that is not escaped": r"\|\s*safe|autoescape",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_template_has(what: str) -> None:
    assert [name for name, text in MARKUP.items() if re.search(FORBIDDEN[what], text, re.I)] == []


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a script within the page", "<script>1</script>"),
        ("a style within the page", '<p style="x">'),
        ("a handler within the page", '<img onerror="x">'),
        ("a file of another host", '<img src="//x.example/">'),
        ("text that is not escaped", "{{ x | safe }}"),
        ("an htmx attribute that makes code of text", '<p hx-on:click="x">'),
    ],
)
def test_what_is_forbidden_would_be_found(what: str, text: str) -> None:
    assert re.search(FORBIDDEN[what], text, re.I)


def test_no_code_of_the_pages_makes_markup_of_text() -> None:
    assert [name for name, text in CODE.items() if "Markup" in text] == []


@pytest.mark.parametrize("name", VENDORED)
def test_a_vendored_file_is_the_one_that_was_vendored(name: str) -> None:
    assert sha256((FOLDER / name).read_bytes()).hexdigest() == VENDORED[name]


def test_the_files_of_a_page_are_small() -> None:
    assert sum(len(one.body) for one in assets().values()) < 60_000


def test_every_route_of_the_table_has_its_handler() -> None:
    for route in ROUTES:
        module, _, name = route.handler.partition(":")
        assert callable(getattr(import_module(f"daemon.pages.{module}"), name)), route
    assert {route.role for route in ROUTES} <= set(RANK)
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


def test_only_gets_without_a_place_in_their_path_stand_in_the_navigation() -> None:
    assert [r for r in ROUTES if r.nav and (r.method != "GET" or "{" in r.path)] == []


@pytest.mark.parametrize("name", sorted(MARKUP))
def test_every_form_that_posts_has_the_token_of_its_session(name: str) -> None:
    before_a_session = {"login.html"}
    forms = re.findall(r"<form[^>]*method=\"post\"[^>]*>(.{0,60})", MARKUP[name], re.S)
    assert name in before_a_session or all("hidden()" in form for form in forms)
