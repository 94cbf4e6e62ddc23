"""The templates of the simulator's account: their list in pages, what a message has to give them, and what Meta tells
of them by webhook."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from daemon.sandbox.meta_rules import Wrong

WABA_ID: Final = "990001"

_PLACE: Final = re.compile(r"\{\{(\w+)\}\}")
_FILES: Final = ("IMAGE", "VIDEO", "DOCUMENT")
_STANDS: Final = {"PAUSED": 132015, "DISABLED": 132016}


def definition(
    name: str = "parcel_ready",
    language: str = "en_US",
    body: str = "Your parcel is ready",
    *,
    header: str | None = None,
    buttons: Sequence[Mapping[str, Any]] = (),
    **members: Any,
) -> dict[str, Any]:
    """A template, as the list has it. *header*: its text, or IMAGE, VIDEO or DOCUMENT. *members*: further ones, or
    others in place of these."""
    shown = {} if header is None else {"format": header} if header in _FILES else {"format": "TEXT", "text": header}
    components: list[dict[str, Any]] = [{"type": "HEADER", **shown}] if shown else []
    components.append({"type": "BODY", "text": body})
    if buttons:
        components.append({"type": "BUTTONS", "buttons": [dict(one) for one in buttons]})
    named = any(not place.isdecimal() for place in _PLACE.findall(body))
    told = {
        "name": name,
        "language": language,
        "status": "APPROVED",
        "category": "UTILITY",
        "parameter_format": "NAMED" if named else "POSITIONAL",
        "components": components,
        "quality_score": {"score": "UNKNOWN", "date": 1928826900},
        "id": str(int.from_bytes(f"{name}.{language}".encode()) % 10**15),
    }
    return told | members


def page(templates: Sequence[Mapping[str, Any]], query: Mapping[str, str], url: str, token: str) -> dict[str, Any]:
    """The answer to a *query* for a part of the list. As Meta does, it signs the addresses of examples anew, names the
    next page with the *token* in it, and a cursor also where no page follows."""
    at = int(base64.b64decode(query["after"])) if "after" in query else 0
    until = at + int(query.get("limit", "25"))
    wanted = set(query["fields"].split(",")) | {"id"} if "fields" in query else None
    rows = [{k: v for k, v in _signed(one).items() if wanted is None or k in wanted} for one in templates[at:until]]
    after = base64.b64encode(str(until).encode()).decode()
    paging: dict[str, Any] = {"cursors": {"before": "MA==", "after": after}}
    if until < len(templates):
        paging["next"] = f"{url}?access_token={token}&limit={until - at}&after={after}"
    return {"data": rows} | ({"paging": paging} if rows else {})


def _signed(template: Mapping[str, Any]) -> dict[str, Any]:
    example = {"header_handle": [f"https://cdn.example.test/h?signature={time.monotonic_ns()}"]}
    return {**template, "components": [{**one, "example": example} for one in template["components"]]}


def refusal(templates: Sequence[Mapping[str, Any]], sent: Mapping[str, Any]) -> Wrong | None:
    """Why the object `template` of a message does not fit the account's *templates*; None where it does."""
    named = sent["name"], sent["language"]["code"]
    found = next((one for one in templates if (one["name"], one["language"]) == named), None)
    if found is not None and (code := _STANDS.get(found["status"])) is not None:
        return Wrong(code, f"Template is {found['status'].lower()}")
    if found is None or found["status"] != "APPROVED":
        return Wrong(132001, "Template name does not exist in the translation")
    given = {(one["type"], int(one.get("index", 0))): one for one in sent.get("components", ())}
    wanted = {one["type"]: one for one in found["components"]}
    named_form = found["parameter_format"] == "NAMED"
    why = _header(wanted.get("HEADER", {}), _parameters(given.pop(("header", 0), None)), named=named_form)
    why = why or _text(wanted["BODY"]["text"], _parameters(given.pop(("body", 0), None)), named=named_form, most=1024)
    return why or _buttons(wanted.get("BUTTONS", {}).get("buttons", ()), given)


def _parameters(component: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    return [] if component is None else list(component["parameters"])


def _header(wanted: Mapping[str, Any], given: list[Mapping[str, Any]], *, named: bool) -> Wrong | None:
    shows = wanted.get("format", "TEXT")
    if shows == "TEXT":
        return _text(wanted.get("text", ""), given, named=named, most=60)
    if [one["type"].upper() for one in given] != [shows]:
        return Wrong(132012, f"header: Format mismatch, expected {shows}")
    return None


def _text(text: str, given: list[Mapping[str, Any]], *, named: bool, most: int) -> Wrong | None:
    places = set(_PLACE.findall(text))
    if any(one["type"] != "text" for one in given):
        return Wrong(132012, "Format mismatch, expected TEXT")
    if len(given) != len(places):
        return Wrong(132000, "Number of parameters does not match the expected number of params")
    if named and any("parameter_name" not in one for one in given):
        return Wrong(100, "Parameter name is missing or empty")
    if named and {one["parameter_name"] for one in given} != places:
        return Wrong(100, "Invalid parameter")
    if not named and any("parameter_name" in one for one in given):
        return Wrong(132012, "Parameter format does not match format in the created template")
    values = {one.get("parameter_name", str(n)): one["text"] for n, one in enumerate(given, 1)}
    whole = _PLACE.sub(lambda place: values[place[1]], text)
    return Wrong(132005, "Translated text too long") if len(whole) > most else None


def _buttons(wanted: Sequence[Mapping[str, Any]], given: Mapping[tuple[str, int], Mapping[str, Any]]) -> Wrong | None:
    needs = {n: one["type"] for n, one in enumerate(wanted) if _PLACE.search(one.get("url", "")) or _is_code(one)}
    takes = needs | {n: "QUICK_REPLY" for n, one in enumerate(wanted) if one["type"] == "QUICK_REPLY"}
    for index in needs:
        if ("button", index) not in given:
            return Wrong(131008, f"Button at index {index} requires a parameter")
    for (_, index), one in given.items():
        if takes.get(index, "").lower() != one["sub_type"]:
            return Wrong(132012, f"Button at index {index} has another type")
        if _is_code(wanted[index]) and len(one["parameters"][0]["coupon_code"]) > 15:
            return Wrong(132012, "The coupon code is too long")
    return None


def _is_code(button: Mapping[str, Any]) -> bool:
    return bool(button["type"] == "COPY_CODE")


def change(field: str, template: Mapping[str, Any], *, at: int | None = None, **members: Any) -> dict[str, Any]:
    """The body of a webhook that tells of *template*. *field*: of the change. *at*: unix seconds; None: now.
    *members*: what it tells, as `event` or `new_category`."""
    value = {
        "message_template_id": int(template["id"]),
        "message_template_name": template["name"],
        "message_template_language": template["language"].replace("_", "-"),
    }
    changes = [{"field": field, "value": value | members}]
    entry = {"id": WABA_ID, "time": int(time.time()) if at is None else at, "changes": changes}
    return {"object": "whatsapp_business_account", "entry": [entry]}
