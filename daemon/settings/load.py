"""Reads the settings from the environment and from one file, and reports all problems in one message.

The file is the one that FERRYMAN_ENV_FILE names in the environment, else `.env`. The environment wins over the file. An
empty value counts as not given. No problem repeats a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Final

from dotenv.parser import parse_stream
from pydantic import SecretStr, ValidationError

from daemon.settings.model import TEMPLATE_PREFIX, Settings
from daemon.settings.values import parse_words
from schemas.errors import FerrymanError

NAMES: Final = tuple(
    name.upper() for name in Settings.model_fields if name not in ("cgb_templates", "origins", "overruled")
)
"""Every environment name but those of the form CGB_TEMPLATE_<NAME>, in the order of `Settings`."""

ENV_FILE: Final = "FERRYMAN_ENV_FILE"

MOST: Final = 64 * 1024
"""Bytes of a file of settings at most. A daemon that reads a larger one again would stand still meanwhile."""

# an unknown name is a problem when it starts with one of these, or resembles a setting: other names belong to others
_PREFIXES: Final = (
    "FERRYMAN_",
    "CGB_",
    "CHATWOOT_",
    "ORDERS_",
    "META_",
    "TWILIO_",
    "WHAPI_",
    "DIALOG360_",
    "MESSAGES_",
    "GCS_",
    "SYNC_",
    "AUTO_SYNC_",
)
_NAME: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,63}|[a-z_][a-z0-9_]{0,63}")
_TEMPLATE: Final = re.compile(rf"{TEMPLATE_PREFIX}[A-Z0-9_]+")
# Kubernetes sets these in every pod for each Service, which may be called ferryman or chatwoot
_SERVICE_LINK: Final = re.compile(
    r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")

# each group is given whole or not at all
_TOGETHER: Final = (
    ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"),
    ("META_ACCESS_TOKEN", "META_PHONE_NUMBER_ID"),
    ("CHATWOOT_BASE_URL", "CHATWOOT_API_ACCESS_TOKEN", "CHATWOOT_ACCOUNT_ID"),
    ("GCS_CLIENT_EMAIL", "GCS_PRIVATE_KEY"),
)
# name: the other name that it needs
_NEEDS: Final = {
    "TWILIO_WHATSAPP_NUMBER": "TWILIO_ACCOUNT_SID",
    "SYNC_UPSTREAM_TOKEN": "SYNC_UPSTREAM_URL",
    "OPENAI_INTENT_MODEL": "OPENAI_API_KEY",
}


class SettingsError(FerrymanError):
    """The settings cannot be used. *problems*: one line each, saying what is wrong and what to do, without values."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        head = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{head} in the settings:\n" + "\n".join(f"  {problem}" for problem in self.problems))


def load_settings(
    environ: Mapping[str, str],
    dotenv: Path | None = Path(".env"),
    *,
    known: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Settings:
    """The settings that *environ* and a file give: the file that FERRYMAN_ENV_FILE names in *environ*, else *dotenv*,
    which may be missing. With None, no file is read.

    *known*: for a setting that is a list of names, the names that it may hold. Other lists are not checked.
    Raises: SettingsError with every problem at once.
    """
    problems: list[str] = []
    path = _file(environ, dotenv, problems)
    from_file = _read_dotenv(path, problems) if path is not None else {}
    # service links are dropped first, so that they do not win over the file
    from_env = {name: text.strip() for name, text in environ.items() if not _is_service_link(name, text)}
    problems += _unknown_in_environment(from_env)
    raw: dict[str, str] = {}
    origins: dict[str, str] = {}
    for origin, texts in ((path.name if path is not None else "", from_file), ("env", from_env)):
        given = {name: text for name, text in texts.items() if text and _is_setting(name)}
        raw |= given
        origins |= dict.fromkeys(given, origin)
    problems += _missing(raw)
    for name, names in known.items():
        problems += _unknown_entries(raw, name, names)
    overruled = tuple(name for name in NAMES if from_file.get(name, "") not in ("", raw.get(name)))
    settings = _validated(raw, origins, overruled, problems)
    if problems or settings is None:
        raise SettingsError(problems)
    return settings


def shown(settings: Settings) -> list[tuple[str, str, str]]:
    """Every setting as (name, text of its value, origin). The origin is "default", "env" or the name of the file.

    The text is `***` for a secret and for a password in an address, and `unset` for a setting that is not given.
    """
    values = {name: getattr(settings, name.lower()) for name in NAMES}
    values |= {TEMPLATE_PREFIX + name.upper(): text for name, text in settings.cgb_templates.items()}
    return [(name, _masked_text(name, value), settings.origins.get(name, "default")) for name, value in values.items()]


def names_in(path: Path) -> frozenset[str]:
    """The names to which the file *path* gives a value."""
    return frozenset(name for name, text in _read_dotenv(path, []).items() if text)


def in_quotes(text: str) -> bool:
    """Whether *text* begins and ends with the same quotation mark."""
    return len(text) > 1 and text[0] == text[-1] and text[0] in "'\""


def masked_address(address: str) -> str:
    """*address* with `***` for its password and for secrets in its query. User, host, port and path stay."""
    scheme, _, rest = address.partition("://")
    # split at the last @, because a password that is not percent-encoded may hold one too
    user, at, place = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    place = re.sub(r"([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*", r"\1***", place, flags=re.IGNORECASE)
    return f"{scheme}://{name}{':***' if colon else ''}{at}{place}"


def _file(environ: Mapping[str, str], dotenv: Path | None, problems: list[str]) -> Path | None:
    """The file to read. One that is named must be there: without it, another installation would come up."""
    named = environ.get(ENV_FILE, "").strip()
    if not named or dotenv is None:
        return dotenv
    path = Path(named).expanduser() if named.startswith("~/") else Path(named)
    if not (os.path.isfile(path) and os.access(path, os.R_OK)):
        problems.append(f"{ENV_FILE} names a file that is not there, or that this user may not read")
    return path


def _read_dotenv(path: Path, problems: list[str]) -> dict[str, str]:
    """The names and texts of the file *path*, none when it is missing. Adds a line to *problems* for each wrong line.

    Texts are taken literally: a dollar sign in a password is not a reference to a variable.
    """
    if not os.path.isfile(path):
        return {}
    found: dict[str, str] = {}
    try:
        if path.stat().st_size > MOST:
            problems.append(f"{path.name} is larger than {MOST // 1024} KiB: it cannot be a file of settings")
            return {}
        with path.open(encoding="utf-8-sig") as lines:
            for binding in parse_stream(lines):
                name, text = binding.key, binding.value
                line = f"line {binding.original.line} of {path.name}"
                if binding.error or (name is not None and text is None):
                    problems.append(f"{line}: write it as NAME=value")
                elif name is not None and text is not None:
                    found[name] = text.strip()
                    problem = _unknown_in_file(name, path.name, line)
                    if problem is not None:
                        problems.append(problem)
    except (OSError, UnicodeDecodeError):
        problems.append(f"{path.name} cannot be read: make it a UTF-8 file that this user may read")
    return found


def _unknown_in_file(name: str, place: str, line: str) -> str | None:
    """The problem of a *name* in the file *place*, None for a setting and for a name of another program."""
    if name == ENV_FILE:
        return f"{ENV_FILE} in {place} has no effect: set it in the environment"
    unnamed = f"{line} is not a setting; remove it, or put the value it belongs to in double quotes"
    if _is_setting(name):
        return None
    if _NAME.fullmatch(name) and not _prefix(name) and not _near(name):
        return None
    return _unknown(name, place, unnamed)


def _prefix(name: str) -> str | None:
    """The prefix of ours that *name* starts with."""
    return next((prefix for prefix in _PREFIXES if name.upper().startswith(prefix)), None)


def _near(name: str) -> str | None:
    """The setting that is probably meant by *name*."""
    return next(iter(get_close_matches(name.upper(), NAMES, n=1, cutoff=0.75)), None)


def _is_setting(name: str) -> bool:
    return name in NAMES or _TEMPLATE.fullmatch(name) is not None


def _is_service_link(name: str, text: str) -> bool:
    if name.endswith("_PORT") and _SERVICE_ADDRESS.match(text):
        return True
    return not _is_setting(name) and _SERVICE_LINK.fullmatch(name) is not None


def _unknown_in_environment(names: Iterable[str]) -> list[str]:
    problems = []
    for name in sorted(names):
        prefix = _prefix(name)
        if prefix is not None and not _is_setting(name):
            unnamed = f"a name in the environment that starts with {prefix} is not a setting; remove it"
            problems.append(_unknown(name, "the environment", unnamed))
    return problems


def _unknown(name: str, place: str, unnamed: str) -> str:
    """The problem of a *name* in *place* that is not a setting; *unnamed* when the name may not be repeated."""
    near = _near(name)
    if near:
        return f"{name} in {place} is not a setting; did you mean {near}?"
    # a line of a key or token that is not in quotes may look like a name
    if not _NAME.fullmatch(name):
        return unnamed
    return f"{name} in {place} is not a setting; remove it"


def _unknown_entries(raw: Mapping[str, str], name: str, known: Collection[str]) -> list[str]:
    """The problem of the list *name*, if it holds a name that is not in *known*. It gives positions, not entries."""
    words = parse_words(raw.get(name, ""))
    wrong = [str(position) for position, word in enumerate(words, 1) if word not in known]
    if not wrong or (name == "FERRYMAN_WORKERS" and words == ("all",)):
        return []
    entries = ", ".join(wrong)
    return [f"{name} has an unknown name as entry {entries} of its list; allowed: {', '.join(sorted(known))}"]


def _missing(raw: Mapping[str, str]) -> list[str]:
    """A line for each name that is not in *raw* and that a name in *raw* needs."""
    problems = []
    for group in _TOGETHER:
        given = [name for name in group if name in raw]
        if given:
            missing = (name for name in group if name not in raw)
            problems += [f"{name} is missing: {given[0]} works only with it" for name in missing]
    for name, needed in _NEEDS.items():
        if name in raw and needed not in raw:
            problems.append(f"{needed} is missing: {name} works only with it")
    return problems


def _validated(
    raw: Mapping[str, str], origins: Mapping[str, str], overruled: tuple[str, ...], problems: list[str]
) -> Settings | None:
    """The settings of *raw*, or None after adding a line to *problems* for each malformed one."""
    templates = {name: text for name, text in raw.items() if name not in NAMES}
    values: dict[str, object] = {name.lower(): text for name, text in raw.items() if name in NAMES}
    values["cgb_templates"] = {name.removeprefix(TEMPLATE_PREFIX).lower(): text for name, text in templates.items()}
    values |= {"origins": origins, "overruled": overruled}
    try:
        return Settings.model_validate(values)
    except ValidationError as invalid:
        for error in invalid.errors(include_input=False, include_context=False, include_url=False):
            field, *inner = (str(part).upper() for part in error["loc"])
            name = TEMPLATE_PREFIX + inner[0] if field == "CGB_TEMPLATES" and inner else field
            hint = "; it is in quotes, which are part of it: take them off" if in_quotes(raw.get(name, "")) else ""
            problems.append(f"{name} {error['msg'].removeprefix('Value error, ')}{hint}")
    return None


def _masked_text(name: str, value: object) -> str:
    if value is None or value == "":
        return "unset"
    if value == ():
        return "all" if name == "FERRYMAN_WORKERS" else "unset"
    if isinstance(value, SecretStr):
        is_address = name in ("REDIS_URL", "DATABASE_URL")
        return masked_address(value.get_secret_value()) if is_address else "***"
    if isinstance(value, tuple):
        return ",".join("***" if isinstance(part, SecretStr) else str(part) for part in value)
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
