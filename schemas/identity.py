"""The identities of a person, and the key under which a person's events stay in order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Final

from schemas.phone import Phone, line

LONGEST_KEY: Final = 250
"""In characters. An index entry has a size limit, so a digest takes the place of a longer key."""


class IdentityKind(StrEnum):
    """What an identity's value is."""

    PHONE = "phone"
    """E.164, with its plus."""
    WA_ID = "wa_id"
    """WhatsApp's own account id: mostly, not always, the digits of the phone."""
    BSUID = "bsuid"
    """WhatsApp's business-scoped user id: since 2026 a user may have no phone."""
    CHATWOOT = "chatwoot"
    """account:contact."""
    CGB = "cgb"
    """CGB's contact id, as text."""
    EMAIL = "email"
    """Lower case. Evidence and no proof: people mistype addresses, and share them."""


PROOFS: Final = (IdentityKind.PHONE, IdentityKind.WA_ID, IdentityKind.BSUID, IdentityKind.CHATWOOT, IdentityKind.CGB)
"""The kinds that prove who a person is, the strongest first. Two contacts that share one are one person."""


@dataclass(frozen=True, slots=True, order=True)
class Identity:
    """One identity of a person; of one alone where its kind is a proof. Its repr shows the kind only."""

    kind: IdentityKind
    value: str

    def __repr__(self) -> str:
        return f"Identity({self.kind})"


def email_identity(email: str) -> Identity:
    """The identity of an e-mail address, which is compared without regard to case."""
    return Identity(IdentityKind.EMAIL, email.strip().lower())


def key(
    *,
    phone: Phone | None = None,
    email: str | None = None,
    order_id: str | None = None,
    applicant_id: str | None = None,
    cgb_id: str | None = None,
    bsuid: str | None = None,
    chat_id: str | None = None,
    message_id: str | None = None,
) -> str:
    """The key of an event: the strongest identity its payload has. Chooses partition and lane, without I/O.

    The E.164 phone (aliases of one line have one key), else `bsuid:` and WhatsApp's business-scoped user id, else
    `cgb:` and CGB's contact id, else `email:` and the address in lower case, else `order:`, `applicant:`, `chat:` or
    `message:` and the id. *chat_id*: of a group, or of a person whose phone WhatsApp hides.
    Raises: ValueError when none of them is given.
    """
    if phone is not None:
        return line(phone.e164)
    if bsuid and bsuid.strip():
        return _bounded(f"bsuid:{bsuid.strip()}")
    if cgb_id and cgb_id.strip():
        return _bounded(f"cgb:{cgb_id.strip()}")
    if email and email.strip():
        return _bounded(f"email:{email.strip().lower()}")
    if order_id and order_id.strip():
        return _bounded(f"order:{order_id.strip()}")
    if applicant_id and applicant_id.strip():
        return _bounded(f"applicant:{applicant_id.strip()}")
    if chat_id and chat_id.strip():
        return _bounded(f"chat:{chat_id.strip()}")
    if message_id and message_id.strip():
        return _bounded(f"message:{message_id.strip()}")
    raise ValueError("no identity")


def _bounded(text: str) -> str:
    """*text*, or a digest in its place where it is too long for an index."""
    if len(text) <= LONGEST_KEY:
        return text
    return f"{text.partition(':')[0]}:blake2b-{blake2b(text.encode(), digest_size=16).hexdigest()}"
