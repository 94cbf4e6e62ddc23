"""The templates of a WhatsApp Business account, as Meta's Graph API lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

from adapters.gate import Gate
from adapters.http import Reply, coded
from adapters.masking import texts_of
from adapters.meta.client import judge
from schemas.errors import Transient
from schemas.templates import ParameterFormat, TemplateDefinition, names_in

FIELDS: Final = "id,name,language,status,category,parameter_format,components,quality_score"
PAGE: Final = 50
"""Templates of one answer: with long texts it stays well within what we read."""

MOST_PAGES: Final = 200
"""An account has 6,000 templates at most, and a list without an end is none."""


class MetaTemplates:
    """The `TemplateList` of a WhatsApp Business account.

    Values of the account: `url`: of the Graph API, with its version (META_GRAPH_URL); `waba_id`: of the WhatsApp
    Business account (META_WABA_ID); `access_token` (META_ACCESS_TOKEN).
    """

    def __init__(self, gate: Gate, *, account: Callable[[], Mapping[str, str]]) -> None:
        self._gate = gate
        self._account = account

    async def read(self) -> list[TemplateDefinition]:
        """See `TemplateList`. Pages are asked for by their cursor: the address that Meta names for the next one holds
        the token, and may lead anywhere."""
        found: list[TemplateDefinition] = []
        cursors: set[str] = set()
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._page(cursor)
            found += page.templates
            cursor = page.after
            if cursor is None:
                return found
            if cursor in cursors:
                break
            cursors.add(cursor)
        raise coded(Transient("Meta: the list of templates has no end"), "endless")

    async def _page(self, cursor: str | None) -> _Page:
        account = self._account()
        headers = {"Authorization": f"Bearer {account['access_token']}"}
        params = {"fields": FIELDS, "limit": str(PAGE)} | ({} if cursor is None else {"after": cursor})

        def judged(reply: Reply) -> _Page:
            private = texts_of([list(headers.values()), account["waba_id"]])
            name, now = self._gate.channel.name, datetime.now(UTC)
            return cast(_Page, judge(reply, _page, channel=name, write=False, private=private, now=now))

        url = f"{account['url'].rstrip('/')}/{account['waba_id']}/message_templates"
        return await self._gate.request("GET", url, judged, headers=headers, params=params)


class _Page(NamedTuple):
    """Templates, and the cursor of the next page; None: there is none."""

    templates: list[TemplateDefinition]
    after: str | None


def _page(answer: Any) -> _Page | None:
    """A page of the list; None where *answer* is none."""
    rows = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(rows, list):
        return None
    found = [_definition(row) for row in rows]
    if None in found:
        return None
    return _Page(cast(list[TemplateDefinition], found), _after(answer.get("paging")))


def _after(paging: Any) -> str | None:
    """The cursor of the next page. The last page has a cursor too, and names no next one."""
    if not isinstance(paging, dict) or not isinstance(following := paging.get("next"), str) or not following:
        return None
    cursors = paging.get("cursors")
    after = cursors.get("after") if isinstance(cursors, dict) else None
    if isinstance(after, str) and after:
        return after
    try:
        return parse_qs(urlsplit(following).query).get("after", [None])[0]
    except ValueError:
        return None


def _definition(row: Any) -> TemplateDefinition | None:
    """The template of a row; None where it has not what every template has."""
    row = _kept(row)
    if not isinstance(row, dict):
        return None
    name, language, status = (row.get(member) for member in ("name", "language", "status"))
    if not (isinstance(name, str) and isinstance(language, str) and isinstance(status, str) and name and language):
        return None
    components = row.get("components")
    listed = [one for one in components if isinstance(one, dict)] if isinstance(components, list) else []
    score = row.get("quality_score")
    return TemplateDefinition(
        name=name,
        language=language,
        status=status.upper(),
        category=_capitals(row.get("category")),
        parameter_format=_format(row.get("parameter_format"), listed),
        components=listed,
        quality=_capitals(score.get("score") if isinstance(score, dict) else score),
        provider_id=str(row["id"]) if isinstance(row.get("id"), str | int) else None,
    )


def _kept(part: Any) -> Any:
    """*part* of a template without its examples, whose addresses are signed anew for each answer, and without U+0000,
    which Postgres keeps in no text."""
    if isinstance(part, dict):
        return {name: _kept(value) for name, value in part.items() if name != "example" and "\x00" not in name}
    if isinstance(part, list):
        return [_kept(one) for one in part]
    return part.replace("\x00", "") if isinstance(part, str) else part


def _format(told: Any, components: list[dict[str, Any]]) -> ParameterFormat:
    """How variables are given; an answer of an older version does not say it, and the texts show it."""
    if isinstance(told, str) and told.lower() in ("positional", "named"):
        return cast(ParameterFormat, told.lower())
    texts = [one["text"] for one in components if isinstance(one.get("text"), str)]
    named = any(not name.isdecimal() for text in texts for name in names_in(text))
    return "named" if named else "positional"


def _capitals(value: Any) -> str | None:
    return value.upper() if isinstance(value, str) and value else None
