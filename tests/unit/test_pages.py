"""The pages name only what there is: a page that has rotted fails here, with the name that is gone.

In backticks a page may name a file or folder (`daemon/app.py`, `tests/e2e/`), and after `::` what is defined in it
(`lanes.py::Lanes.done`); from the top of the repository or from the page's own folder. Names with `acme` or `NNNN` are
examples.
"""

from __future__ import annotations

import ast
import json
import re
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest

from daemon.app import declared
from daemon.settings.load import NAMES
from daemon.workers import WORKERS

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("schemas", "adapters", "daemon")
LIMITS: Final = {
    "README.md": 220,
    "adapters/README.md": 72,
    "daemon/contacts/README.md": 185,
    "daemon/records/README.md": 220,
}
PAGES: Final = (
    *LIMITS,
    "daemon/bus/README.md",
    "daemon/conversations/README.md",
    "daemon/records/INSIDE.md",
    "deploy/README.md",
    "deploy/SENDING.md",
    "deploy/SETTINGS.md",
    "deploy/CHANGELOG.md",
)
EXAMPLE: Final = re.compile(r"acme|NNNN")
PATH: Final = re.compile(
    r"(?:(?:schemas|adapters|daemon|deploy|tests|\.ci)/[\w./-]*|[\w./-]+\.(?:py|md|toml|yaml))(?:::[\w.]+)?"
)


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def named(page: str) -> list[str]:
    """What *page* has in backticks, but for blocks of code."""
    prose = re.sub(r"^ *```.*?^ *```", "", text_of(page), flags=re.M | re.S)
    return re.findall(r"`([^`\n]+)`", prose)


def paths(page: str) -> list[str]:
    return [name for name in named(page) if PATH.fullmatch(name) and not EXAMPLE.search(name)]


@cache
def defined(file: Path) -> frozenset[str]:
    """The functions, classes and methods of a module: `f`, `C`, `C.m`."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, kinds)]
    inner = (f"{node.name}.{part.name}" for node in found for part in node.body if isinstance(part, kinds))
    return frozenset(chain((node.name for node in found), inner))


def exists(page: str, name: str) -> bool:
    place, _, what = name.partition("::")
    for file in (ROOT / place, (ROOT / page).parent / place):
        if file.exists():
            return not what or what in defined(file)
    return False


@cache
def sample() -> dict[str, Any]:
    """The sample order, which has every field that a page names."""
    return dict(json.loads((ROOT / "deploy" / "order.json").read_text(encoding="utf-8")))


def has_field(name: str) -> bool:
    part: Any = sample()
    for member in name.split("."):
        if not isinstance(part, dict) or member not in part:
            return False
        part = part[member]
    return True


@cache
def code() -> str:
    return "\n".join(file.read_text(encoding="utf-8") for top in PACKAGES for file in (ROOT / top).rglob("*.py"))


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_test_that_a_page_names_is_there(page: str) -> None:
    assert [name for name in paths(page) if not exists(page, name)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    text = text_of(page)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    links = [link for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    assert [link for link in links if link.startswith("#") and link[1:] not in anchors] == []
    assert [link for link in links if link[0] != "#" and not ((ROOT / page).parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_setting_metric_and_log_line_that_a_page_names_is_there(page: str) -> None:
    words = {re.split(r"[={ ]", name)[0] for name in named(page)}
    settings = {word for word in words if re.fullmatch(r"(?:FERRYMAN|CGB|ORDERS|REDIS|DATABASE)_[A-Z0-9_]+", word)}
    metrics = {word for word in words if re.fullmatch(r"ferryman_[a-z_]+", word)}
    events = {word for word in words if re.fullmatch(r"[a-z_]+\.[a-z_]+", word) and not (ROOT / word).exists()}
    events -= {word for word in events if exists(page, word)}
    events -= {word for word in events if has_field(word)}
    events |= set(re.findall(r'"event":"([a-z_.]+)"', text_of(page)))
    assert settings - set(NAMES) == set()
    assert metrics - {metric.name for metric in declared(WORKERS)} - {"ferryman_meta"} == set()
    assert {event for event in events if f'"{event}"' not in code()} == set()


def test_the_readme_names_every_folder() -> None:
    rooms = {file.parent for top in PACKAGES for file in (ROOT / top).rglob("__init__.py")}
    rows = set(re.findall(r"^\| `([\w/]+)/` \|", text_of("README.md"), flags=re.M))
    assert rows == {str(room.relative_to(ROOT)) for room in rooms} | {"deploy", "tests"}


@pytest.mark.parametrize("page", ["daemon/conversations/README.md", "daemon/records/INSIDE.md"])
def test_the_page_of_a_domain_names_every_module(page: str) -> None:
    room = (ROOT / page).parent
    modules = {str(file.relative_to(room)) for file in room.rglob("*.py") if file.name != "__init__.py"}
    assert modules - set(named(page)) == set()


def test_the_quick_start_opens_with_the_demo_and_the_tests() -> None:
    part = text_of("README.md").partition("\n## Quick start\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", part, flags=re.M | re.S)
    assert [block.splitlines()[-1] for block in blocks] == [".venv/bin/ferryman demo", ".venv/bin/pytest -q -n 4"]


@pytest.mark.parametrize(("page", "lines"), LIMITS.items())
def test_a_page_stays_short(page: str, lines: int) -> None:
    assert len(text_of(page).splitlines()) <= lines


@pytest.mark.parametrize(
    "name", ["lanes.py::Lanes.finished", "daemon/bus/gone.py", "tests/e2e/test_verbs.py::test_gone"]
)
def test_what_is_gone_is_noticed(name: str) -> None:
    assert not exists("daemon/bus/README.md", name)
