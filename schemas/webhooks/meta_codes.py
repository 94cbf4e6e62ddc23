"""The codes by which Meta's Cloud API says what is wrong with a message: what each means, in words of ours, and what is
to be done.

They come in answers and, later, in statuses. HTTP's status does not classify: Meta answers the same code with 400 here
and 429 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

Verdict: TypeAlias = Literal["refused", "down", "again", "slow", "wait", "pair", "stopped", "open"]
"""`refused`: this message never goes. `down`: account, token or payment: the channel stops. `again`: trouble on their
side. `slow`: all calls of the account wait. `wait`: this message waits and the others go on. `pair`: those to this
person wait. `stopped`: those of this template wait. `open`: it says nothing,
so HTTP's status tells whether something may have happened."""


class Code(NamedTuple):
    """What a code means. *wait_s*: for how long to wait where the answer does not say."""

    verdict: Verdict
    means: str
    wait_s: float | None = None


_HOUR_S: Final = 3600.0
_DAY_S: Final = 86_400.0

_TOKEN: Final = Code("down", "the access token is not valid")
_PERMISSION: Final = Code("down", "the token has no permission for this")
_LOCKED: Final = Code("down", "the account is restricted or locked")
_UNREGISTERED: Final = Code("down", "the sending number is not registered")
_TROUBLE: Final = Code("again", "the service is in trouble")
_CALLS: Final = Code("slow", "too many calls by this app or account")
_PARAMETER: Final = Code("refused", "a part of the message is missing or wrong")
_VARIABLE: Final = Code("refused", "a variable of the template has the wrong format")

CODES: Final[Mapping[int, Code]] = {
    0: _TOKEN,
    190: _TOKEN,
    3: _PERMISSION,
    10: _PERMISSION,
    **dict.fromkeys(range(200, 300), _PERMISSION),
    131005: _PERMISSION,
    368: _LOCKED,
    131031: _LOCKED,
    33: Code("down", "there is no sending number with this id, or the token may not use it"),
    131042: Code("down", "there is a problem with the account's payment"),
    131045: _UNREGISTERED,
    133010: _UNREGISTERED,
    131037: Code("down", "the display name of the sending number is not approved"),
    131063: Code("stopped", "marketing templates are switched off on this endpoint"),
    1: Code("open", "an error that Meta does not name"),
    2: _TROUBLE,
    131000: _TROUBLE,
    131016: _TROUBLE,
    133004: _TROUBLE,
    131057: Code("slow", "the sending number is in maintenance", 90.0),
    4: _CALLS,
    80007: _CALLS,
    130429: Code("slow", "too many messages by this number"),
    131056: Code("pair", "too many messages to this person in a short time"),
    131048: Code("slow", "the number is limited, as people block or report its messages", _HOUR_S),
    131064: Code("slow", "the number is limited, as templates were in a wrong category", _HOUR_S),
    131049: Code("wait", "Meta sends this person no more marketing for now", _DAY_S),
    133016: Code("slow", "too many registrations of the number", _HOUR_S),
    132069: Code("wait", "too many messages with this flow within an hour", 360.0),
    130472: Code("refused", "the person is in an experiment of Meta's, in which marketing is not delivered"),
    130497: Code("refused", "this account may not send to the person's country"),
    131050: Code("refused", "the person has stopped marketing from this business"),
    131026: Code("refused", "it cannot be delivered: no WhatsApp at this number, an old app, or terms not accepted"),
    131047: Code("refused", "the person has not written within 24 hours: send a template"),
    131021: Code("refused", "the recipient is the sending number itself"),
    131030: Code("refused", "the number is not on the allow list of the test number"),
    131008: _PARAMETER,
    131009: _PARAMETER,
    100: _PARAMETER,
    135000: _PARAMETER,
    131051: Code("refused", "WhatsApp does not carry this kind of message"),
    131052: Code("refused", "the person's file could not be fetched"),
    131053: Code("refused", "our file could not be fetched, or is of a kind or size that WhatsApp does not take"),
    132000: Code("refused", "the template has another number of variables"),
    132001: Code("refused", "there is no such template in this language, or it is not approved"),
    132005: Code("refused", "the template is too long with these variables"),
    132007: Code("refused", "the template is against WhatsApp's rules"),
    132008: _VARIABLE,
    132012: _VARIABLE,
    132015: Code("stopped", "the template is paused, as people complain of it"),
    132016: Code("stopped", "the template is disabled"),
    132068: Code("refused", "the flow is blocked"),
    131062: Code("refused", "this kind of message cannot go to a person without a phone"),
    137000: Code("refused", "the person's identity key has changed"),
}
"""The codes that are known here."""


def code_of(value: object) -> int | None:
    """A code as JSON has it, a number or its digits; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 9:
        return int(value)
    return value if isinstance(value, int) and 0 <= value < 10**9 else None
