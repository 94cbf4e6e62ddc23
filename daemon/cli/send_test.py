"""`ferryman send-test`."""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from adapters.ports import Source
from adapters.registry import SOURCES
from daemon.bus.worker import utc_now
from daemon.cli.arguments import parse_words, require_known
from daemon.cli.context import read_settings, run_async
from daemon.cli.exits import FAILED
from daemon.cli.screen import say
from daemon.cli.tools import DryRun, opened
from daemon.operator.send_test import Answer, Prepared, as_it_should, as_the_daemon, endings, post, prepare
from daemon.operator.standing import order_of
from daemon.operator.trail import handled_by
from daemon.settings.model import Settings
from daemon.telemetry.redaction import redact_text
from daemon.web.place import from_here
from daemon.workers import WORKERS, enabled
from schemas.envelope import Event
from schemas.errors import UsageError

TESTED: Final = {source.name: source for source in SOURCES if source.sample is not None}


def _url(text: str) -> str:
    """The parser of an address. Raises: typer.BadParameter."""
    try:
        parts = urlsplit(parse_words(text))
        sound = (
            parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and "@" not in parts.netloc
        )
    except ValueError:  # of a port that is no number, and of brackets
        sound = False
    if not sound:
        raise typer.BadParameter("write it as http://HOST:PORT or https://HOST")
    return text.strip()


def send_test(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", parser=parse_words, help=f"What is sent: {', '.join(TESTED)}.")
    ],
    url: Annotated[
        str | None,
        typer.Option(help="Where the daemon is reached, if not where the settings say.", parser=_url, metavar="URL"),
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds to wait for its end at most.")] = 30.0,
    dry_run: DryRun = False,
) -> None:
    """Post one invented webhook to the running daemon, with the key or signature of the settings or of a stored
    account, and follow it to its end in every worker. It is marked as a test: it is kept and then skipped, and nothing
    is done for it outside. Exit code 0 only when it ended so."""
    require_known("SOURCE", source, list(TESTED))
    settings = read_settings()
    tested = TESTED[source]
    where = _address(settings, tested, url)
    if not run_async(_send(settings, tested, where, timeout, dry_run)):
        raise typer.Exit(FAILED)


async def _send(settings: Settings, source: Source, where: str, timeout_s: float, dry_run: bool) -> bool:
    """Post a test of *source* to *where* and follow it; whether it ended as it should. *dry_run*: only say it."""
    async with opened(settings) as (_, pool):
        test = prepare(await as_the_daemon(pool, settings), source, utc_now())
        say(f"{'would post' if dry_run else 'posting'} the test {_named(test.event)} to {where}")
        if dry_run:
            return True
        if not _accepted(await post(where, test.webhook), test):
            return False
        left = await handled_by(pool, WORKERS, test.event)
        ended = []
        async for ending in endings(pool, left, test.event.id, timeout_s):
            left.remove(ending.worker)
            ended.append(ending)
            reason = f" ({redact_text(ending.reason)})" if ending.reason else ""
            say(f"{ending.worker}: {ending.outcome}{reason}" + ("" if as_it_should(ending) else ", which is wrong"))
    _, off = enabled(settings)
    for worker in left:
        why = f": with these settings it is off, as {off[worker]}" if worker in off else ""
        say(f"{worker}: open after {timeout_s:g} s{why}; see `ferryman events show {test.event.id}`")
    if left or not all(as_it_should(ending) for ending in ended):
        return False
    say("it ended as it should: kept, and skipped as a test")
    return True


def _named(event: Event) -> str:
    """What is posted: an order by its id, anything else by its key."""
    order_id = order_of(event.data)
    return f"webhook {event.subject}" if order_id is None else f"order {order_id}"


def _address(settings: Settings, source: Source, url: str | None) -> str:
    """Where to post. Raises: UsageError where that is not known."""
    if url is None:
        if settings.ferryman_port == 0:
            raise UsageError("FERRYMAN_PORT=0 takes any port: say with --url where the daemon is reached")
        url = f"http://{from_here(settings.ferryman_host, settings.ferryman_port)}"
    return url if url.endswith(source.path) else f"{url.rstrip('/')}{source.path}"


def _accepted(answer: Answer, test: Prepared) -> bool:
    """Say what the daemon answered; whether it has accepted the test."""
    if answer.status != test.status:
        say(f"answer {answer.status}: {answer.detail or 'no detail'}")
        return False
    if not test.names_it:
        say(f"answer {answer.status}, which names no event; this test makes {test.event.id}")
        return True
    say(f"answer 202, event {', '.join(answer.event_ids)}")
    if list(answer.event_ids) != [test.event.id]:
        say(f"that is another event than {test.event.id}, which this test makes: what runs there is no Ferryman")
        return False
    return True
