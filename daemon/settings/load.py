"""Reading the settings: every problem in one message, and no value in any of them.

The environment wins over the `.env` file. An empty value counts as not given.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream
from pydantic import SecretStr, ValidationError

from daemon.settings.model import TEMPLATE_PREFIX, Settings
from daemon.settings.values import parse_words, unknown_entries
from schemas.errors import FerrymanError

NAMES: Final = tuple(name.upper() for name in Settings.model_fields if name not in ("cgb_templates", "origins"))
"""Every environment name, in the order of the groups; CGB_TEMPLATE_<NAME> stands for any number more."""

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
_TEMPLATE: Final = re.compile(rf"{TEMPLATE_PREFIX}[A-Z0-9_]+")
# what Kubernetes sets in every pod for a Service that is called, say, ferryman or chatwoot
_SERVICE_LINK: Final = re.compile(
    r"[A-Z0-9_]+_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS: Final = re.compile(r"(tcp|udp|sctp)://")

_TOGETHER: Final = (
    ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"),
    ("META_ACCESS_TOKEN", "META_PHONE_NUMBER_ID"),
    ("CHATWOOT_BASE_URL", "CHATWOOT_API_ACCESS_TOKEN", "CHATWOOT_ACCOUNT_ID"),
    ("GCS_CLIENT_EMAIL", "GCS_PRIVATE_KEY"),
)
_NEEDS: Final = {
    "TWILIO_WHATSAPP_NUMBER": "TWILIO_ACCOUNT_SID",
    "SYNC_UPSTREAM_TOKEN": "SYNC_UPSTREAM_URL",
}


class SettingsError(FerrymanError):
    """The settings cannot be used. *problems*: a line each: what is wrong, what to do, and no value."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        head = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{head} in the settings:\n" + "\n".join(f"  {problem}" for problem in self.problems))


def load_settings(
    environ: Mapping[str, str],
    dotenv: Path | None = Path(".env"),
    *,
    known_workers: Collection[str] | None = None,
) -> Settings:
    """The settings that *environ* and the file *dotenv* give; a file that is not there gives none.

    *known_workers*: the names that FERRYMAN_WORKERS may hold; None leaves them unchecked.
    Raises: SettingsError with every problem at once.
    """
    problems: list[str] = []
    filed = _filed(dotenv, problems) if dotenv is not None else {}
    problems += _unknown(environ, filed)
    # what Kubernetes put there was not meant for us, so it does not hide what the file says either
    given = {name: text.strip() for name, text in environ.items() if not _is_service_link(name, text)}
    origins = {name: ".env" for name, text in filed.items() if text and _is_setting(name)}
    origins |= {name: "env" for name, text in given.items() if text and _is_setting(name)}
    raw = {name: given[name] if origin == "env" else filed[name] for name, origin in origins.items()}
    problems += _missing(raw)
    if known_workers is not None:
        problems += _unknown_workers(raw, known_workers)
    settings = _parsed(raw, origins, problems)
    if problems or settings is None:
        raise SettingsError(problems)
    return settings


def shown(settings: Settings) -> list[tuple[str, str, str]]:
    """Every setting as (name, text of its value, where it is from: "default", "env" or ".env").

    Secrets read `***`, passwords in addresses too, what is not given `unset`.
    """
    values = {name: getattr(settings, name.lower()) for name in NAMES}
    values |= {TEMPLATE_PREFIX + name.upper(): text for name, text in settings.cgb_templates.items()}
    return [(name, _text(name, value), settings.origins.get(name, "default")) for name, value in values.items()]


def masked_address(address: str) -> str:
    """*address* without its password: the user, host, port and path stay."""
    scheme, _, rest = address.partition("://")
    # up to the last @: whatever a badly quoted password holds is masked with it
    user, at, place = rest.rpartition("@")
    name, colon, _ = user.partition(":")
    place = re.sub(r"([?&][^=&]*(?:pass|secret|token|key)[^=&]*=)[^&]*", r"\1***", place, flags=re.IGNORECASE)
    return f"{scheme}://{name}{':***' if colon else ''}{at}{place}"


def _filed(path: Path, problems: list[str]) -> dict[str, str]:
    """The names and texts of the file *path*, taken literally: a password may hold a dollar sign."""
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for binding in parse_stream(lines):
                if binding.error or (binding.key is not None and binding.value is None):
                    problems.append(f"line {binding.original.line} of {path.name}: write it as NAME=value")
                elif binding.key is not None and binding.value is not None:
                    found[binding.key] = binding.value.strip()
    except (OSError, UnicodeDecodeError):
        problems.append(f"{path.name} cannot be read: make it a UTF-8 file that this user may read")
    return found


def _is_setting(name: str) -> bool:
    return name in NAMES or _TEMPLATE.fullmatch(name) is not None


def _is_service_link(name: str, text: str) -> bool:
    if name.endswith("_PORT") and _SERVICE_ADDRESS.match(text):
        return True
    return not _is_setting(name) and _SERVICE_LINK.fullmatch(name) is not None


def _unknown(environ: Mapping[str, str], filed: Mapping[str, str]) -> list[str]:
    """A line for each name that is no setting: any in the file, those like ours in the environment."""
    strangers = dict.fromkeys(filed, ".env")
    strangers |= {
        name: "the environment"
        for name, text in environ.items()
        if name.upper().startswith(_PREFIXES) and not _is_service_link(name, text)
    }
    return [
        _described(name, place, get_close_matches(name.upper(), NAMES, n=1, cutoff=0.75))
        for name, place in sorted(strangers.items())
        if not _is_setting(name)
    ]


def _described(name: str, place: str, near: Sequence[str]) -> str:
    # a line of an unquoted key or token may pass for a name: then it is not repeated
    if not near and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", name):
        return f"a line of {place} is no NAME=value of ours; put values of several lines in double quotes"
    return f"{name} in {place} is not a setting; " + (f"did you mean {near[0]}?" if near else "remove it")


def _unknown_workers(raw: Mapping[str, str], known: Collection[str]) -> list[str]:
    words = parse_words(raw.get("FERRYMAN_WORKERS", ""))
    problem = None if words == ("all",) else unknown_entries(words, known)
    return [f"FERRYMAN_WORKERS: {problem}"] if problem else []


def _missing(raw: Mapping[str, str]) -> list[str]:
    problems = []
    if "REDIS_URL" in raw and "DATABASE_URL" in raw and "FERRYMAN_ADMIN_TOKEN" not in raw:
        problems.append("FERRYMAN_ADMIN_TOKEN is missing: with REDIS_URL and DATABASE_URL set it must be set too")
    for group in _TOGETHER:
        there = [name for name in group if name in raw]
        if there:
            lacking = (name for name in group if name not in raw)
            problems += [f"{name} is missing: {there[0]} works only with it" for name in lacking]
    for name, needed in _NEEDS.items():
        if name in raw and needed not in raw:
            problems.append(f"{needed} is missing: {name} works only with it")
    return problems


def _parsed(raw: Mapping[str, str], origins: Mapping[str, str], problems: list[str]) -> Settings | None:
    """The settings of *raw*, or None after adding a line to *problems* for each malformed one."""
    templates = {name: text for name, text in raw.items() if name not in NAMES}
    values: dict[str, object] = {name.lower(): text for name, text in raw.items() if name in NAMES}
    values["origins"] = origins
    if templates:
        keys = (name.removeprefix(TEMPLATE_PREFIX).lower() for name in templates)
        values["cgb_templates"] = dict(zip(keys, templates.values(), strict=True))
    try:
        return Settings.model_validate(values)
    except ValidationError as invalid:
        for error in invalid.errors(include_input=False, include_context=False, include_url=False):
            field, *inner = (str(part).upper() for part in error["loc"])
            name = TEMPLATE_PREFIX + inner[0] if field == "CGB_TEMPLATES" and inner else field
            problems.append(f"{name} {error['msg'].removeprefix('Value error, ')}")
    return None


def _text(name: str, value: object) -> str:
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
