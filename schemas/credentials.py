"""What an account at a provider needs: its fields, checked, and the ways in which they may be written.

An error names fields and never repeats a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from schemas.errors import Malformed

DEFAULT: Final = "default"
"""The account of messages that name none. Stored, it goes before the one that the settings name."""

ACCOUNT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,59}")
"""How an account may be called."""

_LONGEST: Final = 4096
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_TOLD: Final = re.compile(r"[A-Za-z_]{1,24}")
"""A name that an error repeats. What does not look like one may be a secret at the wrong place."""

_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _word(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # ids of accounts and numbers are often written as numbers
    text = value.strip() if isinstance(value, str) else ""
    if not text or len(text) > _LONGEST or not (text.isascii() and text.isprintable()):
        raise ValueError(f"must be 1 to {_LONGEST} printable ASCII characters on one line")
    return text


def _number(text: str) -> str:
    number = text.removeprefix("whatsapp:")
    if not re.fullmatch(r"\+[1-9][0-9]{6,14}", number):
        raise ValueError("must be a phone number like +15550001234, with or without whatsapp: in front")
    return number


def _digits(text: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,14}", text):
        raise ValueError("must be a whole number")
    return text


def _address(text: str) -> str:
    try:
        parts = urlsplit(text)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound or re.search(r"[\s?#@]", text):
        raise ValueError("must be an address that starts with https:// or http://, without user, query and fragment")
    return text.rstrip("/")


Word = Annotated[str, BeforeValidator(_word)]
Number = Annotated[Word, AfterValidator(_number)]
Digits = Annotated[Word, AfterValidator(_digits)]
Address = Annotated[Word, AfterValidator(_address)]


class _Secret(BaseModel):
    """*url*: of the provider's API, where it is not the one of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: Address | None = None

    def __repr_args__(self) -> list[tuple[str | None, Any]]:
        return []  # no value in a traceback or a log


class MetaSecret(_Secret):
    """A sending number of Meta's Cloud API. *app_secret*: also proves webhooks of its app."""

    access_token: Word
    phone_number_id: Word
    waba_id: Word | None = None
    app_secret: Word | None = None


class TwilioSecret(_Secret):
    """A WhatsApp sender of a Twilio account. *auth_token*: also proves webhooks of the account."""

    account_sid: Word
    auth_token: Word
    whatsapp_number: Number


class WhapiSecret(_Secret):
    """A Whapi channel. *webhook_secret*: what its webhooks send in X-Webhook-Secret."""

    token: Word
    webhook_secret: Word | None = None


class CgbSecret(_Secret):
    """An account of CGB."""

    api_key: Word


class ChatwootSecret(_Secret):
    """A WhatsApp inbox of a Chatwoot account. *webhook_secret*: with which the account's webhook signs."""

    api_access_token: Word
    account_id: Digits
    inbox_id: Digits
    webhook_secret: Word | None = None


class ChatwootProof(_Secret):
    """What proves the webhooks of a Chatwoot account, and sends nothing."""

    webhook_secret: Word


SECRETS: Final[Mapping[str, type[_Secret]]] = {
    "cgb": CgbSecret,
    "chatwoot": ChatwootSecret,
    "meta": MetaSecret,
    "twilio": TwilioSecret,
    "whapi": WhapiSecret,
}
"""Provider -> what an account of it needs."""

_PROOFS: Final[Mapping[str, type[_Secret]]] = {"chatwoot": ChatwootProof}
"""Provider -> what an account of it may be instead, that proves webhooks alone."""

NAMED: Final = re.compile(rf"(?:{'|'.join(SECRETS)})(?:/{ACCOUNT.pattern})?")
"""How an account is named with its provider: PROVIDER where it is `default`, or PROVIDER/ACCOUNT."""

_ALSO: Final = {("twilio", "phone_number"): "whatsapp_number"}
"""(provider, name) -> the field that is meant by it."""

PROVIDERS: Final[Mapping[str, str]] = {
    **{name: name for name in SECRETS},
    "whatsapp-business-api": "meta",
    "whapi.cloud": "whapi",
}
"""How a provider may be called -> the provider."""


def fields_of(provider: str) -> Mapping[str, bool]:
    """The fields of an account of *provider*, and whether it must have them; those that it must come first."""
    fields = {name: field.is_required() for name, field in SECRETS[provider].model_fields.items()}
    return dict(sorted(fields.items(), key=lambda field: not field[1]))


def secret_from(provider: str, given: Mapping[str, Any]) -> dict[str, str]:
    """The fields of an account of *provider* that are set. Names may be written in camelCase. Raises: Malformed, with
    everything that is wrong, by its name."""
    known = SECRETS.get(provider)
    if known is None:
        raise Malformed(f"provider must be one of {', '.join(SECRETS)}")
    named = [_HUMP.sub("_", name).lower() if _NAME.fullmatch(name) else name for name in given]
    named = [_ALSO.get((provider, name), name) for name in named]
    if len(set(named)) < len(named):
        raise Malformed("a field of secret is given twice, under two names")
    proof = _PROOFS.get(provider)
    if proof is not None and set(named) == set(proof.model_fields) - {"url"}:
        known = proof
    try:
        secret = known.model_validate(dict(zip(named, given.values(), strict=True)))
    except ValidationError as exc:
        raise Malformed("; ".join(_told(provider, error) for error in exc.errors()[:10])) from None
    found = secret.model_dump(exclude_none=True)
    return {name: found[name] for name in fields_of(provider) if name in found}


def sends(provider: str, values: Mapping[str, str]) -> bool:
    """Whether an account with these fields sends messages; else it proves webhooks alone."""
    return all(name in values for name, needed in fields_of(provider).items() if needed)


def _told(provider: str, error: Any) -> str:
    """What is wrong with a field."""
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        what = f"secret.{name}" if _TOLD.fullmatch(name) else "a name in secret"
        return f"{what} is no field of {provider}: it has {', '.join(fields_of(provider))}"
    if error["type"] == "missing":
        return f"secret.{name} is missing"
    return f"secret.{name} {error['msg'].removeprefix('Value error, ')}"


def secret_from_token(
    token: str, secret: str | None = None, number: str | None = None, provider: str | None = None
) -> tuple[str, dict[str, str]]:
    """(provider, its fields) as the CRM of the fifth seed writes them: SID:AUTH:NUMBER:twilio,
    ACCESS:NUMBER_ID:whatsapp-business-api, else one token of Whapi; or those parts apart, with the *provider*'s name.

    A token may hold colons. No provider is guessed where the token looks like another one's. Raises: Malformed.
    """
    wanted = None if provider is None else PROVIDERS.get(provider.strip().lower())
    if provider is not None and wanted is None:
        raise Malformed(f"provider must be one of {', '.join(PROVIDERS)}")
    head, _, last = token.strip().rpartition(":")
    suffix = PROVIDERS.get(last.strip().lower()) if head else None
    if suffix is None:
        named = wanted or _looks_like(token.strip(), secret, number)
        return named, secret_from(named, _parts(named, token, secret, number))
    if wanted not in (None, suffix):
        raise Malformed(f"token is one of {suffix}, and provider names another one")
    if secret or number:
        raise Malformed("token holds all parts already: give no secret and no phoneNumber beside it")
    if suffix == "twilio":
        sid, _, rest = head.partition(":")
        auth, _, sender = rest.rpartition(":")
        return suffix, secret_from(suffix, _parts(suffix, sid, auth, sender))
    if suffix == "meta":
        access, _, number_id = head.rpartition(":")
        return suffix, secret_from(suffix, _parts(suffix, access, None, number_id))
    return suffix, secret_from(suffix, _parts(suffix, head, None, None))


def _looks_like(token: str, secret: str | None, number: str | None) -> str:
    """The provider of a token that names none. Raises: Malformed."""
    if re.fullmatch(r"AC[0-9a-fA-F]{32}", token) or secret:
        return "twilio"
    if token.startswith("EAA") or number or ":" in token:
        raise Malformed("provider is missing: the token is not that of a Whapi channel alone")
    return "whapi"


def _parts(provider: str, token: str, secret: str | None, number: str | None) -> dict[str, str]:
    """The parts by the names of the fields; those that are empty are left out, so that they are missing."""
    match provider:
        case "twilio":
            parts = {"account_sid": token, "auth_token": secret, "whatsapp_number": number}
        case "meta":
            parts = {"access_token": token, "phone_number_id": number or secret}
        case "whapi" | "cgb" if not (secret or number):
            parts = {"token" if provider == "whapi" else "api_key": token}
        case "whapi" | "cgb":
            raise Malformed(f"{provider} has one token: give no secret and no phoneNumber beside it")
        case _:
            raise Malformed(f"{provider} has no form as one token: give its fields")
    return {name: text for name, text in parts.items() if text is not None and text.strip()}
