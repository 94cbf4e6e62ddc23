"""Settings that can be used and are probably not what was meant."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import SecretStr

from adapters.postgres import address as postgres_address
from adapters.redis import address as redis_address
from daemon.settings.load import NAMES, in_quotes
from daemon.settings.model import Settings


def ignored_options(settings: Settings) -> Iterator[tuple[str, str]]:
    """(setting, option) of every option of a store's address that is known and changes nothing."""
    if settings.redis_url is not None:
        for option in redis_address.read(settings.redis_url.get_secret_value()).ignored:
            yield "REDIS_URL", option
    if settings.database_url is not None:
        for option in postgres_address.check(settings.database_url.get_secret_value()):
            yield "DATABASE_URL", option


def quoted(settings: Settings) -> list[str]:
    """The settings whose values are in quotes, which are part of the value: Docker's env files do not take them off."""
    return [name for name in NAMES if in_quotes(_text(getattr(settings, name.lower())))]


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return str(value)
