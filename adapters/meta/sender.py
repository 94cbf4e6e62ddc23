"""The sender of Meta's Cloud API."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from adapters.gate import Gate
from adapters.http import coded
from adapters.meta import bodies
from adapters.meta.client import FILE_REFUSED, NO_SUCH_FILE, MetaCalls
from adapters.ports import Claim, Files
from adapters.uploads import Uploaded, Uploads, is_ours
from schemas.errors import Refused, Transient
from schemas.media import TAKEN
from schemas.messages import Content, OutboundMessage, Taken
from schemas.phone import Phone


class MetaSender:
    """The `Sender` of one number of a WhatsApp Business account.

    Values of the account: `url`: of the Graph API, with its version (META_GRAPH_URL); `phone_number_id`: of the sending
    number (META_PHONE_NUMBER_ID); `access_token` (META_ACCESS_TOKEN); optional `upload_hosts`: whose files are uploaded
    (see `is_ours`).

    Up to three choices with titles of at most 20 characters are buttons, others a list that `Choose` opens. A file goes
    by its address, and one that is on a host of `upload_hosts` by the id that Meta gives it.
    `schemas/template_parts.py` says how variables fill a template. Our id of a message comes back in each of its
    statuses, as `biz_opaque_callback_data`: a message whose answer was lost is found by it.
    """

    def __init__(
        self, gate: Gate, *, account: Callable[[], Mapping[str, str]], files: Files, public_url: str | None = None
    ) -> None:
        self._account = account
        self._calls = MetaCalls(gate, account)
        self._uploads = Uploads(files, self._calls.upload, taken=TAKEN)

    @staticmethod
    def refusal(content: Content) -> str | None:
        """See `Sender`."""
        return bodies.refusal(content)

    async def send(self, message: OutboundMessage, claim: Claim) -> Taken:
        """See `Sender`. Before it a file of ours is fetched and uploaded. An id of an earlier upload that Meta does not
        know any more is Transient: the next call uploads the file anew."""
        if why := self.refusal(message.content):
            raise Refused(why)
        uploaded = await self._uploaded(message.content)
        content = bodies.body_of(message.content, uploaded)
        body = {**_to(message.to), "biz_opaque_callback_data": str(message.id), **content}
        try:
            return await self._calls.send(body, about=message.to.e164, claim=claim)
        except Refused as error:
            if uploaded is None or not uploaded.remembered or error.code not in (NO_SUCH_FILE, FILE_REFUSED):
                raise
            self._uploads.forget(uploaded.id)
            again = Transient(f"{error}: the file is uploaded anew")
            again.said = error.said
            raise coded(again, error.code) from None

    async def _uploaded(self, content: Content) -> Uploaded | None:
        """The file of *content*, where it goes by an id."""
        file = bodies.file_of(content)
        if file is None or not is_ours(file[0], self._account().get("upload_hosts", "")):
            return None
        self._calls.demand_open()  # no file is fetched while no message can go out
        return await self._uploads.of(*file)

    async def mark_read(self, message_id: str) -> None:
        """See `ReadMarker`."""
        await self._calls.mark({"status": "read", "message_id": message_id}, about=message_id)


def _to(phone: Phone) -> dict[str, str]:
    return {"recipient_type": "individual", "to": phone.e164}
