"""Messages by WhatsApp through Twilio."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

import orjson

from adapters.gate import Gate
from adapters.ports import Claim, Files
from adapters.twilio.client import Account, make_message
from adapters.twilio.looking import look_for
from adapters.twilio.source import status_url
from schemas.errors import Refused
from schemas.media import path_at
from schemas.messages import Choices, Content, Media, OutboundMessage, Reaction, Taken, Template, Text

LONGEST_TEXT: Final = 1600
"""Characters of a text, and of a caption."""

MOST_VARIABLES: Final = 100

_CONTENT_SID: Final = re.compile(r"HX[0-9a-fA-F]{32}")
_UNCAPTIONED: Final = frozenset({"audio", "document"})
_NO_IMAGES: Final = (".gif", ".webp")
_PREFIX: Final = "whatsapp:"


class TwilioSender:
    """The `Sender` of a Twilio account.

    Its values: `url` (of the API), `account_sid`, `auth_token`, `whatsapp_number` (the sending number in E.164).

    A template is named by its ContentSid, which stands for one language; its variables go as they are named. Twilio
    takes a file's name from its address, so a file is sent without the one that is asked for.
    """

    def __init__(
        self, gate: Gate, *, account: Callable[[], Mapping[str, str]], public_url: str | None, files: Files
    ) -> None:
        self._gate = gate
        self._account = account
        self._public_url = public_url

    @staticmethod
    def refusal(content: Content) -> str | None:
        """See Sender."""
        match content:
            case Text():
                return _refused_text("the text", content.body)
            case Template():
                return _refused_template(content)
            case Media():
                return _refused_media(content)
            case Choices():
                return (
                    "Twilio carries buttons and lists only as Content templates: make one (twilio/quick-reply or"
                    " twilio/list-picker) and send it as a template, by its ContentSid"
                )
            case Reaction():
                return "Twilio has no call for reactions: send a text"

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        """See Sender. Twilio gives our id back in the address of the message's statuses."""
        if (why := self.refusal(message.content)) is not None:
            raise Refused(f"Twilio: {why}")
        values = self._account()
        form = {
            "To": f"{_PREFIX}{message.to.e164}",
            "From": f"{_PREFIX}{values['whatsapp_number'].removeprefix(_PREFIX)}",
            **_parts(message.content),
        }
        if self._public_url is not None:
            form["StatusCallback"] = status_url(self._public_url, message.id)
        account = Account(values["url"], values["account_sid"], values["auth_token"])
        variables = message.content.variables.values() if isinstance(message.content, Template) else ()
        return await make_message(self._gate, account, form, claim, private=variables)

    async def look_for(self, message: OutboundMessage, since: datetime) -> Taken | None:
        """See `Reconciler`."""
        values = self._account()
        account = Account(values["url"], values["account_sid"], values["auth_token"])
        to, sender = f"{_PREFIX}{message.to.e164}", f"{_PREFIX}{values['whatsapp_number'].removeprefix(_PREFIX)}"
        return await look_for(self._gate, account, to, sender, message.content, since)


def _parts(content: Content) -> dict[str, str]:
    """What *content* is in a form."""
    match content:
        case Text():
            return {"Body": content.body}
        case Template():
            variables = {"ContentVariables": orjson.dumps(dict(content.variables)).decode()}
            return {"ContentSid": content.name} | (variables if content.variables else {})
        case Media():
            return {"MediaUrl": content.url} | ({"Body": content.caption} if content.caption else {})
    raise Refused("Twilio: choices and reactions have no form")


def _refused_text(what: str, text: str) -> str | None:
    if not text.strip():
        return f"{what} is empty: give it some words"
    if len(text) > LONGEST_TEXT:
        return f"{what} has {len(text)} characters, and Twilio takes {LONGEST_TEXT}: shorten or split it"
    return None


def _refused_template(template: Template) -> str | None:
    if not _CONTENT_SID.fullmatch(template.name):
        return (
            "a template of Twilio is named by its ContentSid, HX and 32 hexadecimal digits: copy it from the Content"
            " Template Builder in Twilio's console"
        )
    names = template.variables.keys()
    if len(names) > MOST_VARIABLES:
        return f"a template of Twilio has {MOST_VARIABLES} variables at most, not {len(names)}"
    numbered = {str(n) for n in range(1, len(names) + 1)}
    if any(name.isdecimal() for name in names) and names != numbered:
        # in the place of one that is left out Twilio shows the sample of the template
        return f"the variables are not numbered 1 to {len(names)} without a gap: give each of them"
    return None


def _refused_media(media: Media) -> str | None:
    path = path_at(media.url)
    if path is None:
        return "the file has no public address: give one that begins with https://, as Twilio fetches the file there"
    if media.type == "image" and path.lower().endswith(_NO_IMAGES):
        return "WhatsApp shows no GIF or WebP as an image: give a JPEG or a PNG"
    if not media.caption:
        return None
    if media.type in _UNCAPTIONED:
        return f"Twilio sends {media.type} files without a caption: send those words as a message of their own"
    return _refused_text("the caption", media.caption)
