"""What is wrong between the parts of `dialogs.toml`: languages that are missing, options that nobody can tell apart,
places without a value, and keys that do not go together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from daemon.conversations.dialogs.matching import phrase
from daemon.messages.automatic_texts import has_stray_brace, places
from daemon.rules.parts import ANY, table, tables
from daemon.rules.problems import Fault, KeyPath, visible
from schemas.cleaned import visible as clean

MOST_BUTTONS: Final = 3
LONGEST_ON_BUTTON: Final = 20
"""Characters of a button's title; Meta takes no longer ones. A row of a list has 24."""

_OF_NOTICE: Final[Mapping[str, frozenset[str]]] = {"ready": frozenset({"order"})}
_BOUNDED: Final = ("text", "number")


def faults(document: Mapping[str, Any]) -> Iterator[Fault]:
    """All of them. *document* is parsed and not yet checked: any part may have any shape."""
    fallback = document.get("language")
    for notice, texts in table(document, "notices").items():
        if isinstance(texts, dict):
            yield from _of_languages(("notices", notice), texts, fallback, texts)
            for language, text in _strings(texts):
                known = _OF_NOTICE.get(notice, frozenset())
                yield from _of_text(("notices", notice, language), text, known, frozenset())
    names: dict[str, int] = {}
    begins: dict[str, int] = {}
    for at, dialog in enumerate(tables(document, "dialogs")):
        path: KeyPath = ("dialogs", at)
        name = dialog.get("name")
        if isinstance(name, str) and names.setdefault(name, at) != at:
            yield Fault((*path, "name"), f"is the name of dialog {names[name] + 1} too: give each its own")
        yield from _of_when(path, dialog, at, begins)
        yield from _of_dialog(path, dialog, fallback)


def _of_when(path: KeyPath, dialog: Mapping[str, Any], at: int, begins: dict[str, int]) -> Iterator[Fault]:
    when = table(dialog, "when")
    if "when" in dialog and len(when) != 1:
        yield Fault((*path, "when"), "must have one of intent and event")
    for told in when.values():
        if dialog.get("enabled") is True and isinstance(told, str) and begins.setdefault(told, at) != at:
            yield Fault((*path, "when"), f"begins dialog {begins[told] + 1} already: switch one of them off")


def _of_dialog(path: KeyPath, dialog: Mapping[str, Any], fallback: object) -> Iterator[Fault]:
    spoken = table(dialog, "confirmation")
    listed = dialog.get("given")
    given = {name for name in listed if isinstance(name, str)} if isinstance(listed, list) else set()
    fields = list(enumerate(tables(dialog, "fields")))
    names = {at: name for at, field in fields if isinstance(name := field.get("name"), str)}
    known = frozenset({*given, *names.values()})
    certain = frozenset(name for at, name in names.items() if _is_certain(fields[at][1]))
    texts: list[tuple[KeyPath, Mapping[str, Any], frozenset[str]]] = [
        (("title",), table(dialog, "title"), frozenset()),
        (("confirmation",), spoken, certain),
        (("reminder", "text"), table(table(dialog, "reminder"), "text"), frozenset()),
    ]
    for at, field in fields:
        texts += [(("fields", at, key), table(field, key), frozenset()) for key in ("prompt", "wrong")]
    for place, told, sure in texts:
        if told:
            yield from _of_languages((*path, *place), told, fallback, spoken)
        for language, text in _strings(told):
            yield from _of_text((*path, *place, language), text, known, sure)
    seen: dict[str, int] = {}
    for at, name in names.items():
        if name in given or seen.setdefault(name, at) != at:
            what = "something that is given" if name in given else f"field {seen[name] + 1}"
            yield Fault((*path, "fields", at, "name"), f"is the name of {what} too: give each its own")
    for at, field in fields:
        yield from _of_field((*path, "fields", at), field, given, spoken)
    if isinstance(about := dialog.get("about"), str) and about not in given:
        yield Fault((*path, "about"), f"{visible(about)} is not among what is given")
    if fields and not any(field.get("required", True) is True for _, field in fields):
        yield Fault((*path, "fields"), "are none that is required, so nothing would be asked for")


def _is_certain(field: Mapping[str, Any]) -> bool:
    """Whether the field has a value when all is known."""
    return field.get("required", True) is True and not field.get("where")


def _of_field(
    path: KeyPath, field: Mapping[str, Any], given: Collection[str], spoken: Collection[str]
) -> Iterator[Fault]:
    kind, options = field.get("kind"), list(enumerate(tables(field, "options")))
    for key in table(field, "where"):
        if key not in given:
            yield Fault((*path, "where", key), f"{visible(key)} is not among what is given")
    if kind == "choice" and not options:
        yield Fault(path, "must have options: it is a choice")
    if isinstance(kind, str) and kind != "choice":
        for key in ("options", "free"):
            if field.get(key):
                yield Fault((*path, key), "may stand where kind is choice alone")
    takes_text = kind == "text" or field.get("free") is True
    if field.get("lead") and not takes_text:
        yield Fault((*path, "lead"), "may stand where any text counts alone")
    least, most = field.get("min"), field.get("max")
    for key in ("min", "max"):
        if key in field and isinstance(kind, str) and kind not in _BOUNDED and not takes_text:
            yield Fault((*path, key), "may stand where kind is text or number alone, or where free is true")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        yield Fault((*path, "max"), "must not be less than min")
    yield from _of_phrases((*path, "names"), field.get("names"), spoken)
    yield from _of_options(path, options, spoken)


def _of_options(
    path: KeyPath, options: list[tuple[int, Mapping[str, Any]]], spoken: Collection[str]
) -> Iterator[Fault]:
    """Options that cannot be told apart, or not be shown."""
    named: dict[tuple[str, ...] | str, int] = {}
    for at, option in options:
        place = (*path, "options", at)
        yield from _of_phrases((*place, "title"), option.get("title"), spoken)
        told: list[tuple[KeyPath, object]] = [(("value",), option.get("value"))]
        told += [(("title", *of), text) for of, text in _said(option.get("title"))]
        told += [(("synonyms", *of), text) for of, text in _said(option.get("synonyms"))]
        for key, text in told:
            if not isinstance(text, str):
                continue
            if named.setdefault(phrase(text) or text.strip(), at) != at:
                other = named[phrase(text) or text.strip()] + 1
                yield Fault((*place, *key), f"names option {other} too: nobody could tell which one is meant")
            if key[0] == "title":
                yield from _of_title((*place, *key), text, len(options))


def _of_title(path: KeyPath, title: str, count: int) -> Iterator[Fault]:
    if count <= MOST_BUTTONS and len(title) > LONGEST_ON_BUTTON:
        yield Fault(path, f"has {len(title)} characters: a button has {LONGEST_ON_BUTTON}")
    if clean(title).strip() != title:
        yield Fault(path, "has blanks around it, or characters that nobody sees: take them out")


def _of_phrases(path: KeyPath, told: object, spoken: Collection[str]) -> Iterator[Fault]:
    """Texts by language, where not all are alike in all languages."""
    if isinstance(told, dict) and ANY not in told:
        for language in spoken:
            if language not in told:
                yield Fault(path, f"lacks {visible(language)}, which the dialog speaks")


def _of_languages(
    path: KeyPath, texts: Mapping[str, Any], fallback: object, spoken: Collection[str]
) -> Iterator[Fault]:
    if isinstance(fallback, str) and fallback not in texts:
        yield Fault(path, f"lacks {visible(fallback)}, the language of people whose own is not spoken")
    for language in spoken:
        if language not in texts and language != fallback:
            yield Fault(path, f"lacks {visible(language)}, in which the dialog has its confirmation")


def _of_text(path: KeyPath, text: str, known: Collection[str], certain: Collection[str]) -> Iterator[Fault]:
    if has_stray_brace(text):
        yield Fault(path, "has a brace that belongs to no field: write a field as {topic}, and no other brace")
    for place in places(text):
        if place.field not in known:
            names = ", ".join(sorted(known))
            do = f"known are {visible(names, 300)}" if known else "there is none here"
            yield Fault(path, f"{visible(place.field)} is no field: {do}")
        elif place.otherwise is None and place.field not in certain:
            name = visible(place.field)
            yield Fault(path, f"{name} may have no value here: write what stands there then, as {{{name}|…}}")


def _said(told: object) -> Iterator[tuple[KeyPath, object]]:
    """The texts of what may be a text, a list, or either by language; and where each stands."""
    if isinstance(told, dict):
        for key, inner in told.items():
            yield from (((key, *of), text) for of, text in _said(inner))
    elif isinstance(told, list):
        yield from (((at,), text) for at, text in enumerate(told))
    else:
        yield (), told


def _strings(texts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    return ((key, text) for key, text in texts.items() if isinstance(text, str))
