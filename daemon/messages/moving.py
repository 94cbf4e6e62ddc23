"""Another account for a message whose own cannot take it now: the next ones of its route, while nothing was attempted.

A message moves forward along its route only, so it ends somewhere. The move is written before any call; then the
handler begins anew, by the row. A claim needs the account that the row names, and a message that was ever claimed is
never moved: so however many processes disagree on which channels are down, one account at most is ever called.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from adapters.channel import parted
from adapters.postgres.messages import MessageState
from adapters.postgres.moves import Account, Standing
from daemon.bus.outcome import Turn
from daemon.messages.content import to_json
from daemon.messages.requests import Requested
from daemon.messages.rules import HEARD_BY, why_not
from daemon.messages.template_fit import Unfit, definition_of, fitted
from daemon.messages.template_sync import CHECKED
from schemas.errors import ChannelClosed
from schemas.messages import Content, Template
from schemas.phone import line
from schemas.templates import Known

if TYPE_CHECKING:
    from daemon.messages.wiring import MessageDeps

NAMES_TELL: Final = frozenset({"twilio"})
"""The providers whose templates have names that no other provider has: Twilio's are ContentSids."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accounts:
    """What is known of accounts now. *has*: whether there is such a one. *why_shut*: why nothing had better go by it;
    "" where it may. *known*: its templates of a name, as `adapters.postgres.templates` has them. *standing*, *move*: as
    `adapters.postgres.moves` has them. *count*: counts a move, given both providers."""

    has: Callable[[Account], bool]
    why_shut: Callable[[Account], str]
    known: Callable[[Account, str], Awaitable[Known | None]]
    standing: Callable[..., Awaitable[Standing | None]]
    move: Callable[..., Awaitable[bool]]
    count: Callable[[str, str], None]


class Carried(NamedTuple):
    """What a message says at another account, and what its template is for there, where that is known."""

    content: Content
    category: str | None = None


class Way(NamedTuple):
    """*moved*: the message goes by another account by now, or its row has changed meanwhile. *instead*: the channels of
    those that would take it, and are down too."""

    moved: bool = False
    instead: tuple[str, ...] = ()


async def moved_at_once(deps: MessageDeps, turn: Turn, message: Requested, state: MessageState) -> bool:
    """Whether *message* was moved, as its account is known to be down. Raises: ChannelClosed, without a call, where all
    that would take it are down: then it goes by the first one that is back."""
    here = Account(message.provider, message.account)
    if not further(state, here) or not (why := deps.accounts.why_shut(here)):
        return False
    way = await onward(deps, turn, message, state, why)
    if way.instead:
        raise closed(why, here.channel, *way.instead)
    return way.moved


def closed(why: str, channel: str, *instead: str) -> ChannelClosed:
    """The message waits for *channel*, or for one of those by which it may go *instead*."""
    error = ChannelClosed(why, channel=channel)
    error.instead = instead
    return error


async def onward(deps: MessageDeps, turn: Turn, message: Requested, state: MessageState, why: str) -> Way:
    """Move *message* to the first account further along its route that is there and not down, can carry it, and may
    send it. *why*: its own cannot, as a sentence."""
    here, down = Account(message.provider, message.account), []
    for there in further(state, here):
        carried = await _carried(deps, there, message)
        if carried is None or not await _may_go(deps, turn, message, there, carried):
            continue
        if deps.accounts.why_shut(there):
            down.append(there.channel)
            continue
        said, category = to_json(carried.content), carried.category
        if await deps.accounts.move(message.id, here, there, content=said, category=category, why=why):
            deps.accounts.count(here.provider, there.provider)
            told = {"message_id": str(message.id), "provider": here.channel, "to": there.channel}
            log.info("message.moved", reason=why, **told)
        return Way(moved=True)
    return Way(instead=tuple(down))


def further(state: MessageState, here: Account) -> list[Account]:
    """The accounts behind *here* on the route of a message; none once a call was attempted."""
    route = list(state.route or ())
    if state.attempts or here.channel not in route:
        return []
    return [Account(*parted(name)) for name in route[route.index(here.channel) + 1 :]]


async def _carried(deps: MessageDeps, there: Account, message: Requested) -> Carried | None:
    """The message as *there* carries it; None: it does not, or there is no such account."""
    sender = deps.senders.get(there)
    if sender is None or not deps.accounts.has(there) or sender.refusal(message.content) is not None:
        return None
    if not isinstance(message.content, Template) or there.provider in NAMES_TELL:
        return Carried(message.content)
    return carried_template(message.content, there.provider, await deps.accounts.known(there, message.content.name))


async def _may_go(deps: MessageDeps, turn: Turn, message: Requested, there: Account, carried: Carried) -> bool:
    """Whether the message may be moved *there*, and sent there now."""
    standing = await deps.accounts.standing(
        message.id,
        there,
        line=line(message.to.e164),
        systems=HEARD_BY.get(there.provider, ()),
        category=carried.category,
    )
    if standing is None or standing.stopped:
        return False
    written_at, opted_out = standing.written_at, standing.opted_out
    return why_not(carried.content, there.provider, written_at, turn.now, opted_out=opted_out) is None


def carried_template(template: Template, provider: str, known: Known | None) -> Carried | None:
    """*template* as *provider* carries it, by its templates of that name, where it is among them. None: it is not, or
    nobody can tell; then the message had better wait."""
    if known is None or not known.definitions:
        return None
    if provider not in CHECKED:
        return Carried(template)
    try:
        definition = definition_of(template, known)
        category = None if definition.category is None else definition.category.lower()
        return Carried(fitted(template, definition), category)
    except Unfit:
        return None
