"""DATABASE_URL as providers hand it out, and what of it asyncpg is given."""

from __future__ import annotations

import os
import re
import ssl
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from adapters.address import parse_options, split_options, switched_on

_UNDERSTOOD: Final = frozenset(
    (
        # by asyncpg, as libpq's (PostgreSQL, "Parameter Key Words")
        "database",
        "dbname",
        "gsslib",
        "host",
        "krbsrvname",
        "passfile",
        "password",
        "port",
        "service",
        "ssl_max_protocol_version",
        "ssl_min_protocol_version",
        "sslcert",
        "sslcrl",
        "sslkey",
        "sslmode",
        "sslnegotiation",
        "sslpassword",
        "sslrootcert",
        "target_session_attrs",
        "user",
        # by the server, at the start of a session
        "options",
        "role",
        "search_path",
    )
)
_IGNORED: Final = frozenset(
    (
        # of libpq: asyncpg has no such thing, or Ferryman has its own
        "application_name",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "fallback_application_name",
        "gssdelegation",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "require_auth",
        "sslcompression",
        "sslsni",
        "tcp_user_timeout",
        # of other languages' clients and of poolers
        "connection_limit",
        "pgbouncer",
        "pool_size",
        "pool_timeout",
        "prepare",
        "prepareThreshold",
        "prepared_statements",
        "socket_timeout",
        "sslaccept",
        "statement_cache_size",
        "supa",
        "uselibpqcompat",
        "workaround",
    )
)
_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class PostgresUrl(NamedTuple):
    """*dsn*: with the options that asyncpg understands. *tls*: the connection's TLS where asyncpg would not make it so,
    else None. *ignored*: the names of known options that change nothing."""

    dsn: str
    tls: ssl.SSLContext | None
    ignored: tuple[str, ...]


def read(url: str) -> PostgresUrl:
    """*url* as asyncpg can use it. Raises: ValueError whose text follows the name of the setting."""
    dsn, options, ignored = _options(url)
    tls = None
    if _by_the_system(options):
        tls = ssl.create_default_context()
        for name in ("sslmode", "sslrootcert"):
            options.pop(name, None)
        if certificate := options.pop("sslcert", None):
            try:
                tls.load_cert_chain(certificate, options.pop("sslkey", None), options.pop("sslpassword", None))
            except OSError as exc:
                raise ValueError(f"has the option sslcert, whose file cannot be used ({exc.strerror})") from exc
    return PostgresUrl(_with(dsn, options), tls, ignored)


def check(url: str) -> tuple[str, ...]:
    """The names of the options of *url* that are ignored. Reads no file. Raises: ValueError as `read`."""
    return _options(url)[2]


def _options(url: str) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """*url* without options, those of them that are understood, and the names of those that are ignored."""
    options = parse_options(urlsplit(url).query)
    if "ssl" in options and switched_on("ssl", options.pop("ssl")):
        options.setdefault("sslmode", "require")
    if "schema" in options:
        options["search_path"] = options.pop("schema")
    kept, ignored = split_options(options, _UNDERSTOOD, _IGNORED)
    kept = {name: value for name, value in kept.items() if value}
    if "sslmode" in kept and kept["sslmode"] not in _MODES:
        raise ValueError(f"has the option sslmode, which must be one of: {', '.join(_MODES)}")
    if not re.fullmatch("[0-9]{1,5}(,[0-9]{1,5})*", kept.get("port", "0")):
        raise ValueError("has the option port, which must be a number")
    return re.split(r"[?#]", url, maxsplit=1)[0], kept, ignored


def _by_the_system(options: dict[str, str]) -> bool:
    """Whether the server's certificate is checked against the authorities that this system trusts: asked for, or no
    file of authorities is named or where libpq looks for one. asyncpg does neither."""
    if options.get("sslrootcert") == "system":
        return True
    if options.get("sslmode") not in ("verify-ca", "verify-full") or options.get("sslrootcert"):
        return False
    home = os.path.expanduser("~")
    return not os.environ.get("PGSSLROOTCERT") and not Path(home, ".postgresql", "root.crt").exists()


def _with(dsn: str, options: dict[str, str]) -> str:
    query = urlencode(options, quote_via=quote, safe="/")
    return f"{dsn}?{query}" if query else dsn
