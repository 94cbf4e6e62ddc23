"""The checkers that are configured, asked one after the other whether a number is on WhatsApp."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import structlog

from adapters import permit
from adapters.permit import Permit
from daemon.bus.batcher import Batcher
from daemon.contacts.validation import Terms, can_be_mobile
from schemas.errors import ChannelClosed, ChannelDown, FerrymanError, LeaseLost, Permanent, Transient, Uncertain
from schemas.phone import Phone, aliases
from schemas.whatsapp import Evidence, EvidenceSource

if TYPE_CHECKING:
    from adapters.ports import NumberChecker

log = structlog.get_logger(__name__)


class Answer(NamedTuple):
    """What the checker *source* says."""

    has_whatsapp: bool
    source: EvidenceSource


class Checkers:
    """Asks *checkers*, in their order. Where one does not say, or is away, the next one is asked."""

    def __init__(self, checkers: Mapping[EvidenceSource, NumberChecker]) -> None:
        self._asked = {name: _Asked(checker) for name, checker in checkers.items()}

    def __bool__(self) -> bool:
        return bool(self._asked)

    async def ask(self, phone: Phone) -> Answer | None:
        """The first answer. None: no checker says anything.

        Raises: what the first checker that is away raised, where no other one answers; what tells that nothing was
        sent.
        """
        away: FerrymanError | None = None
        for name, checker in self._asked.items():
            try:
                has_whatsapp = await checker.has_whatsapp(phone)
            except (Transient, Uncertain, ChannelDown, ChannelClosed) as exc:
                away = away or exc
                continue
            except Permanent as exc:
                log.warning("contact.whatsapp_unknown", checker=name, error=exc.code)
                continue
            if has_whatsapp is not None:
                return Answer(has_whatsapp, name)
        if away is not None:
            raise away
        return None


async def find_out(
    checkers: Checkers, terms: Terms, phone: Phone, known: Evidence | None, now: datetime
) -> Evidence | None:
    """What the rules of numbering or *checkers* say of *phone* at *now*; None where neither says anything. *known*:
    what is known of it. The rules are not asked of a number of which anything else has told already."""
    if not can_be_mobile(phone) and (known is None or known.source == "offline"):
        return terms.evidence(phone, False, "offline", now)
    answer = await checkers.ask(phone)
    return None if answer is None else terms.evidence(phone, *answer, now)


class _Asked:
    """One checker. Where it takes several numbers in a call, those that are asked for meanwhile go together."""

    def __init__(self, checker: NumberChecker) -> None:
        self._checker = checker
        self._together: Batcher[tuple[Phone, Permit | None], bool | None] = Batcher(
            self._check,
            culprit=lambda exc: isinstance(exc, Permanent),
            largest=checker.most,
            at_once=1,
        )

    async def has_whatsapp(self, phone: Phone) -> bool | None:
        """Yes where any notation of the line is on WhatsApp; no where every one is not."""
        for e164 in aliases(phone.e164):
            answer = await self._one(Phone(e164))
            if answer is not False:
                return answer
        return False

    async def _one(self, phone: Phone) -> bool | None:
        if self._checker.most == 1:
            return (await self._checker.check([phone]))[0]
        return await self._together.submit((phone, permit.current.get()))

    async def _check(self, asked: list[tuple[Phone, Permit | None]]) -> list[bool | None]:
        """The answers of one call. It may be sent while one of those who ask may send; it has no place of its own in
        the line for the rate limit, as a place belongs to one event."""
        permits = [mine for _, mine in asked if mine is not None]
        if len(permits) == len(asked):
            permit.current.set(Permit(lambda: _may_any_send(permits), asked=True))
        else:
            permit.current.set(None)
        phones = list(dict.fromkeys(phone for phone, _ in asked))
        answers = dict(zip(phones, await self._checker.check(phones), strict=True))
        return [answers[phone] for phone, _ in asked]


def _may_any_send(permits: list[Permit]) -> None:
    """Raises: LeaseLost, where none of *permits* may send."""
    lost: LeaseLost | None = None
    for one in permits:
        try:
            one.may_send()
        except LeaseLost as exc:
            lost = exc
        else:
            return
    if lost is not None:
        raise lost
