"""Files of ours at the simulators of Meta and Whapi, over real HTTP: uploaded before the claim, sent by their ids."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from aiohttp import ClientSession

from adapters.channel import Channel
from adapters.http import open_session
from adapters.ports import Sender
from adapters.registry import SENDERS
from daemon.sandbox.ledger import Ledger
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.whapi import WhapiSandbox
from schemas.errors import ChannelClosed, ChannelDown, FerrymanError, NotSent, Refused, Transient
from schemas.messages import Content, Media, Template
from tests.support.file_server import JPEG, PDF, PNG
from tests.support.gates import gate_on
from tests.support.made_up_files import MadeUpFiles
from tests.support.sending import Claims, message, sends

HOST = "files.example.test"
PICTURE = f"https://{HOST}/front.jpg"
VISA = f"https://{HOST}/visa-canary.pdf"
PRIVATE = ("972505550142", "5550142", "canary", "example", "EAA", "sandbox-channel-token")

Provider = Literal["meta", "whapi"]


@dataclass
class World:
    """A sender at its simulator, with the files of HOST."""

    provider: Provider
    sandbox: Any
    sender: Sender
    files: MadeUpFiles
    channel: Channel

    @property
    def ledger(self) -> Ledger:
        ledger: Ledger = self.sandbox.ledger
        return ledger

    @property
    def uploads(self) -> int:
        return sum(entry.action == "upload" for entry in self.ledger.entries)

    @property
    def sent(self) -> list[Any]:
        """What was sent, without what is the same in every message."""
        if self.provider == "meta":
            return [one.body[one.body["type"]] for one in self.sandbox.sent]
        return [one[one["type"]] for one in self.sandbox.messages.taken]

    def drop(self) -> None:
        """The provider has no file any more."""
        if self.provider == "meta":
            self.sandbox.media.expire()
        else:
            self.sandbox.media.clear()

    @property
    def bodies(self) -> list[bytes]:
        if self.provider == "meta":
            return [file.body for file in self.sandbox.media.taken]
        return list(self.sandbox.media.values())

    def id_in(self, sent: dict[str, Any]) -> str:
        return str(sent["id"] if self.provider == "meta" else sent["media"])

    async def send(self, content: Content) -> None:
        await self.sender.send(message(content), Claims(self.ledger))

    async def failing(self, content: Content, *, claimed: bool = False) -> FerrymanError:
        """The error of one send, in which nothing is personal; *claimed*: whether the message was."""
        claims, before = Claims(self.ledger), sends(self.ledger)
        with pytest.raises(FerrymanError) as caught:
            await self.sender.send(message(content), claims)
        error = caught.value
        assert not any(part in f"{error.full_text} {error!r} {error.code} {error.__cause__!r}" for part in PRIVATE)
        assert (claims.sent_before, sends(self.ledger)) == (([before], before + 1) if claimed else ([], before))
        return error


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as made:
        yield made


async def opened(provider: Provider, sandbox: Any, session: ClientSession, hosts: str = HOST) -> World:
    account = sandbox.account() if provider == "meta" else {"url": sandbox.url, "token": sandbox.token}
    account["upload_hosts"] = hosts
    files, channel = MadeUpFiles(), Channel(provider)
    files.files |= {PICTURE: JPEG, VISA: PDF}
    gate = gate_on(session, channel=channel, timeout_s=5.0)
    sender = SENDERS[provider]()(gate, account=lambda: account, public_url=None, files=files)
    return World(provider, sandbox, sender, files, channel)


@pytest.fixture(params=["meta", "whapi"])
async def world(request: pytest.FixtureRequest, session: ClientSession) -> AsyncIterator[World]:
    async with MetaSandbox() if request.param == "meta" else WhapiSandbox() as sandbox:
        yield await opened(request.param, sandbox, session)


@pytest.fixture
async def meta(session: ClientSession) -> AsyncIterator[World]:
    async with MetaSandbox() as sandbox:
        yield await opened("meta", sandbox, session)


# both


async def test_a_file_of_ours_is_uploaded_once_and_sent_by_its_id(world: World) -> None:
    for _ in range(3):
        await world.send(Media(PICTURE, "image", caption="Front"))
    ids = {world.id_in(sent) for sent in world.sent}
    assert (len(world.sent), len(ids), world.bodies) == (3, 1, [JPEG])
    assert [entry.action for entry in world.ledger.entries] == ["upload", "send", "send", "send"]
    assert all(sent["caption"] == "Front" and PICTURE not in sent.values() for sent in world.sent)


async def test_a_document_has_its_own_name_or_the_one_that_is_asked_for(world: World) -> None:
    await world.send(Media(VISA, "document"))
    await world.send(Media(VISA, "document", filename="Visa of Noa.pdf"))
    assert [sent["filename"] for sent in world.sent] == ["visa-canary.pdf", "Visa of Noa.pdf"]


async def test_a_file_of_others_goes_by_its_address(world: World) -> None:
    url = "https://cdn.example.test/a.jpg"
    await world.send(Media(url, "image"))
    assert (world.uploads, world.files.fetched, len(world.sent)) == (0, {}, 1)
    assert url in world.sent[0].values()


async def test_the_upload_comes_before_the_claim(world: World) -> None:
    def uploads() -> int:
        return world.uploads

    class Seen(Claims):
        async def __call__(self) -> None:
            assert uploads() == 1
            raise NotSent("taken back")

    with pytest.raises(NotSent):
        await world.sender.send(message(Media(PICTURE, "image")), Seen(world.ledger))
    assert world.sent == []


async def test_a_large_file_arrives_whole_and_holds_up_nobody(world: World) -> None:
    body = PDF + bytes(range(256)) * 20_000
    world.files.files[VISA] = body
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)  # aiohttp's, for a body that is written in one piece
        await world.send(Media(VISA, "document"))
    assert world.bodies == [body]


async def test_an_id_that_the_provider_has_dropped_is_replaced_at_the_next_try(world: World) -> None:
    await world.send(Media(PICTURE, "image"))
    world.drop()
    error = await world.failing(Media(PICTURE, "image"), claimed=True)
    assert isinstance(error, Transient)
    await world.send(Media(PICTURE, "image"))
    assert (len(world.sent), world.uploads) == (2, 2)
    assert world.id_in(world.sent[0]) != world.id_in(world.sent[1])
    assert world.channel.closed


async def test_a_new_id_that_is_refused_is_not_tried_again(world: World) -> None:
    text = "Param image['id'] is not a valid whatsapp business account media attachment ID"
    code = 100 if world.provider == "meta" else 404
    world.sandbox.faults.add("error", path="/messages", code=code, message=text)
    assert isinstance(await world.failing(Media(PICTURE, "image"), claimed=True), Refused)
    assert world.uploads == 1


async def test_a_refusal_that_is_not_about_the_file_stands(world: World) -> None:
    await world.send(Media(PICTURE, "image"))
    code, text = (131026, "Message undeliverable") if world.provider == "meta" else (400, "Wrong chat")
    world.sandbox.faults.add("error", path="/messages", code=code, message=text, times=1)
    assert isinstance(await world.failing(Media(PICTURE, "image"), claimed=True), Refused)
    await world.send(Media(PICTURE, "image"))
    assert world.uploads == 1


@pytest.mark.parametrize("kind", ["reset", "html", "cut", "short"])
async def test_an_upload_in_doubt_leaves_the_message_unsent_and_not_uncertain(world: World, kind: Any) -> None:
    world.sandbox.faults.add(kind, path="/media", times=1)
    assert isinstance(await world.failing(Media(PICTURE, "image")), Transient)
    await world.send(Media(PICTURE, "image"))
    assert (len(world.sent), world.uploads) == (1, 2)


@pytest.mark.parametrize(
    "error", [Transient("the file's server answers HTTP 503"), Refused("the file's server answers HTTP 404")], ids=repr
)
async def test_a_file_that_does_not_come_is_no_fault_of_the_provider(world: World, error: FerrymanError) -> None:
    world.files.files[PICTURE] = error
    for _ in range(6):
        assert await world.failing(Media(PICTURE, "image")) is error
    assert (world.ledger.entries, world.channel.closed, error.channel) == ([], True, None)


async def test_a_token_that_is_refused_at_the_upload_stops_the_channel(world: World) -> None:
    world.sandbox.token = "another"
    assert isinstance(await world.failing(Media(PICTURE, "image")), ChannelDown)


async def test_a_file_over_which_the_provider_fails_stops_no_other(world: World) -> None:
    world.sandbox.faults.add("html", path="/media", status=502)
    for _ in range(7):
        assert isinstance(await world.failing(Media(PICTURE, "image")), Transient)
    world.sandbox.faults.clear()
    await world.send(Media(VISA, "document"))
    assert world.channel.closed


async def test_nothing_is_fetched_while_no_message_can_go_out(world: World) -> None:
    world.channel.paused = True
    assert isinstance(await world.failing(Media(PICTURE, "image")), ChannelClosed)
    assert world.files.fetched == {}


async def test_a_file_of_another_type_than_it_is_sent_as_is_refused(world: World) -> None:
    world.files.files[PICTURE] = b"<html><body>Log in"
    error = await world.failing(Media(PICTURE, "image"))
    assert (type(error), "web page" in str(error)) == (Refused, True)
    assert world.ledger.entries == []


# Meta


async def test_meta_is_told_what_the_bytes_are(meta: World) -> None:
    meta.files.files[PICTURE] = PNG  # whatever its address says
    await meta.send(Media(PICTURE, "image"))
    (file,) = meta.sandbox.media.taken
    assert (file.type, file.body) == ("image/png", PNG)
    assert meta.sent == [{"id": next(iter(meta.sandbox.media.kept))}]


@pytest.mark.parametrize(
    ("url", "kind", "more"), [(PICTURE, "image", {}), (VISA, "document", {"filename": "visa-canary.pdf"})]
)
async def test_the_file_of_a_template_s_header_goes_by_its_id(
    meta: World, url: str, kind: str, more: dict[str, str]
) -> None:
    await meta.send(Template("parcel_ready", "en_US", {"header": url, "1": "Noa"}))
    (id,) = meta.sandbox.media.kept
    header, body = meta.sent[0]["components"]
    assert header == {"type": "header", "parameters": [{"type": kind, kind: {"id": id} | more}]}
    assert body["parameters"] == [{"type": "text", "text": "Noa"}]


async def test_a_document_that_meta_takes_by_its_address_alone_goes_so(meta: World) -> None:
    url = f"https://{HOST}/all.zip"
    meta.files.files[url] = b"PK\x03\x04" + bytes(40)
    await meta.send(Media(url, "document"))
    assert (meta.sent, meta.uploads) == ([{"link": url}], 0)


async def test_what_meta_refuses_to_take_by_upload_is_refused(meta: World) -> None:
    meta.sandbox.faults.add("error", path="/media", code=131053, message="Media upload error")
    error = await meta.failing(Media(PICTURE, "image"))
    assert (type(error), error.code) == (Refused, "meta-131053")


async def test_an_upload_that_meta_slows_down_waits_without_cost(meta: World) -> None:
    meta.sandbox.faults.add("limited", path="/media", times=1, retry_after="7")
    error = await meta.failing(Media(PICTURE, "image"))
    assert isinstance(error, Transient)
    assert (error.limited, error.retry_after_s) == (True, 7.0)
