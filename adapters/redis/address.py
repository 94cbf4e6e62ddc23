"""REDIS_URL as providers hand it out, and what of it the client is given."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlencode, urlsplit

from adapters.address import parse_options, split_options, switched_on

_PLAIN: Final = frozenset(("db", "username", "password", "client_name"))
_TLS: Final = frozenset(
    (
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_ca_path",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_password",
        "ssl_check_hostname",
        "ssl_ciphers",
    )
)
_SEVERAL_HOSTS: Final = frozenset(("tls", "ssl_ca_certs", "sentinel_username", "sentinel_password"))
"""The options of Sentinel's and a cluster's addresses. `adapters.redis.client` reads them."""

_IGNORED: Final = frozenset(
    (
        # of redis-py: how a connection waits, repeats and reads is not the address's business
        "decode_responses",
        "encoding",
        "encoding_errors",
        "health_check_interval",
        "legacy_responses",
        "lib_name",
        "lib_version",
        "max_connections",
        "protocol",
        "retry_on_error",
        "retry_on_timeout",
        "socket_connect_timeout",
        "socket_keepalive",
        "socket_read_size",
        "socket_timeout",
        "timeout",
        # of other languages' clients
        "commandTimeout",
        "connectTimeout",
        "enableReadyCheck",
        "family",
        "keepAlive",
        "lazyConnect",
        "maxRetriesPerRequest",
        "pool_size",
    )
)
_CERT_REQS: Final = ("none", "optional", "required")


class RedisUrl(NamedTuple):
    """*url*: with the options that the client understands. *ignored*: the names of the others that are known."""

    url: str
    ignored: tuple[str, ...]


def read(url: str) -> RedisUrl:
    """*url* as the client can use it. Raises: ValueError whose text follows the name of the setting."""
    parts = urlsplit(url)
    options = parse_options(parts.query)
    if parts.scheme in ("redis+sentinel", "redis+cluster"):
        kept, ignored = split_options(options, _SEVERAL_HOSTS, _IGNORED)
        return RedisUrl(_with(url, parts.scheme, kept), ignored)
    scheme = parts.scheme
    for name in ("tls", "ssl"):
        if name in options and switched_on(name, options.pop(name)) and scheme == "redis":
            scheme = "rediss"
    kept, ignored = split_options(options, _PLAIN | _TLS, _IGNORED)
    if scheme != "rediss" and (odd := sorted(_TLS & kept.keys())):
        raise ValueError(f"has the option {odd[0]}, which goes with rediss:// alone")
    if scheme != "unix" and not re.fullmatch(r"/?[0-9]{0,9}/?", unquote(parts.path)):
        raise ValueError("must end in the number of a database, as redis://host:6379/0, or in nothing")
    if not re.fullmatch("[0-9]{1,9}", kept.get("db", "0")):
        raise ValueError("has the option db, which must be the number of a database")
    if "ssl_check_hostname" in kept:
        switched_on("ssl_check_hostname", kept["ssl_check_hostname"])
    if "ssl_cert_reqs" in kept:
        wanted = kept["ssl_cert_reqs"].lower().removeprefix("cert_")
        if wanted not in _CERT_REQS:
            raise ValueError(f"has the option ssl_cert_reqs, which must be one of: {', '.join(_CERT_REQS)}")
        kept["ssl_cert_reqs"] = wanted
    return RedisUrl(_with(url, scheme, kept), ignored)


def _with(url: str, scheme: str, options: dict[str, str]) -> str:
    """*url* with another scheme and other options. Its middle stays as it was written."""
    _, _, rest = url.partition("://")
    place = re.split(r"[?#]", rest, maxsplit=1)[0]
    query = urlencode(options, quote_via=quote)
    return f"{scheme}://{place}" + (f"?{query}" if query else "")
