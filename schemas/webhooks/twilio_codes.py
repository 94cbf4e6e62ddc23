"""What Twilio's error codes mean for us. The same codes come in an answer and, more often, later in a status.

Twilio warns that codes may change: one that is not in the table has no meaning here, and its message has failed for
good.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

Class: TypeAlias = Literal["refused", "down", "later", "often", "today", "person", "stopped", "open"]
"""refused: this message never goes out. down: the account or the sender is at fault, so none does. later: trouble at
Twilio or Meta. often: we send too fast. today: what may be sent in a day is used up. person: not to this person for a
day. stopped: no messages of this template for now. open: nobody knows whether the message went out."""


class Meaning(NamedTuple):
    """What a code means, in words of ours that begin small and say what to do where that is not plain."""

    of: Class
    text: str


OPTED_OUT: Final = frozenset({"21610", "63014", "63033"})
"""The person wants no messages from us. 63032, a limitation of WhatsApp's own, is none of these."""

_TEXTS: Final[Mapping[Class, Mapping[str, tuple[int, ...]]]] = {
    "refused": {
        "the number cannot be reached by WhatsApp": (21211, 21212, 21217, 21614, 63003, 63024),
        "messages to this country are switched off: allow it in Twilio's Messaging geographic permissions": (21408,),
        "the number has not joined the sandbox": (63015,),
        "the message has no text": (21602,),
        "the text has more than 1600 characters": (21617,),
        "the file's address is not a public one": (21620,),
        "the message has too many files": (21623,),
        "the template's id or variables are wrong: compare them with the template in Twilio's console": (
            21654, 21655, 21656, 21658,
        ),
        "the person has opted out": (21610, 63014, 63033),
        "WhatsApp does not deliver to this person now": (63032,),
        "it is outside the 24 hours after the person's last message: send a template": (63016,),
        "WhatsApp's policy forbids it: look at the sender's quality in Twilio's console": (63013, 63026),
        "the content or its parameters are refused": (63005, 63006, 63021, 63028, 63030),
        "the template is missing or rejected: look at it in Twilio's console": (63027, 63029, 63040),
        "the file could not be fetched or is not of a kind or size that WhatsApp takes": (
            63019, 63034, 63043, 63044, 63045, 63047,
        ),
    },
    "down": {
        "the account or its token is wrong: see TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN": (20003,),
        "the sending number is no WhatsApp sender of this account: see TWILIO_WHATSAPP_NUMBER": (21606, 63002, 63007),
        "WhatsApp refuses the sender or its business account: look at it in Twilio's console": (
            63001, 63008, 63020, 63022, 63051, 63062,
        ),
        "Twilio has suspended the account": (30002,),
    },
    "later": {"trouble at Twilio or at WhatsApp": (63009, 63010, 63012, 63023, 30008, 30410)},
    "often": {
        "too many requests at once": (20429,),
        "too many messages of this account": (63017,),
        "too many messages of this sender": (63018,),
        "too many messages wait at Twilio": (21611, 30001),
    },
    "today": {"the account may send no more today": (63038,)},
    "stopped": {"the template is paused or disabled: look at it in Twilio's console": (63041, 63042)},
    "person": {"Meta holds marketing messages to this person back": (63049,)},
    "open": {
        "trouble at Twilio": (20500, 20503),
        "Twilio could not hand the file over yet and tries again": (63037,),
    },
}  # fmt: skip

MEANINGS: Final[Mapping[str, Meaning]] = {
    str(code): Meaning(of, text) for of, texts in _TEXTS.items() for text, codes in texts.items() for code in codes
}
"""What is known of each code."""


def in_words(code: str | None) -> str:
    """Why a message has failed, for its row."""
    if code is None:
        return "Twilio gives no reason"
    meaning = MEANINGS.get(code)
    return "an error of Twilio that is not known here" if meaning is None else meaning.text
