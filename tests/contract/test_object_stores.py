"""What every object store promises, on Google's emulator and on files; and what Google's answers mean."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from adapters.channel import Channel
from adapters.conversation_ports import BucketTaken, NoObject, ObjectStore
from adapters.http import open_session
from adapters.storage.account import GcsAccount
from adapters.storage.files import FileStore
from adapters.storage.gcs import AGES, GcsStore, lifecycle
from adapters.storage.names import check
from daemon.operator.live import Looked, look_at_accounts
from daemon.settings.load import load_settings
from schemas.errors import ChannelClosed, ChannelDown, FerrymanError, Refused, Transient
from tests.support.object_stores import emulator

BUCKET = "demo-0123456789abcdef"
PATH = "whatsapp-messages/2031-02-14/481/7301.json"


@pytest.fixture(scope="module")
def emulated() -> Iterator[str]:
    with emulator() as url:
        yield url


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture(params=["gcs", "files"])
def store(request: pytest.FixtureRequest, emulated: str, session: ClientSession, tmp_path: Path) -> ObjectStore:
    channel = Channel("storage")
    if request.param == "files":
        return FileStore(tmp_path / "archive", channel)
    return GcsStore(GcsAccount(project="demo", emulator=emulated), session, channel)


async def test_what_was_put_is_there_byte_for_byte(store: ObjectStore) -> None:
    await store.ensure_bucket(BUCKET)
    bodies = {f"whatsapp-media/2031-02-14/1/{n}.bin": os.urandom(size) for n, size in enumerate((1, 70_000))}
    for path, body in bodies.items():
        await store.put(BUCKET, path, body, "application/octet-stream")
    assert {path: await store.get(BUCKET, path) for path in bodies} == bodies


async def test_an_object_of_json_is_one_like_any_other(store: ObjectStore) -> None:
    await store.ensure_bucket(BUCKET)
    body = b'{"upload_id": "7", "name": "x"}\r\n'
    await store.put(BUCKET, PATH, body, "application/json")
    assert await store.get(BUCKET, PATH) == body


async def test_a_large_object_comes_back_whole(store: ObjectStore) -> None:
    await store.ensure_bucket(BUCKET)
    body = os.urandom(12_000_000)
    await store.put(BUCKET, PATH, body, "video/mp4")
    assert sha256(await store.get(BUCKET, PATH)).digest() == sha256(body).digest()


async def test_every_call_may_be_made_again(store: ObjectStore) -> None:
    for body in (b"first", b"second", b"second"):
        await store.ensure_bucket(BUCKET)
        await store.put(BUCKET, PATH, body, "text/plain")
    assert await store.get(BUCKET, PATH) == b"second"
    for _ in range(2):
        await store.delete(BUCKET, PATH)
    with pytest.raises(NoObject):
        await store.get(BUCKET, PATH)


async def test_objects_of_two_buckets_are_apart(store: ObjectStore) -> None:
    for bucket in ("demo-a0", "demo-b0"):
        await store.ensure_bucket(bucket)
        await store.put(bucket, PATH, bucket.encode(), "text/plain")
    await store.delete("demo-a0", PATH)
    assert await store.get("demo-b0", PATH) == b"demo-b0"


async def test_what_is_not_there_is_told(store: ObjectStore) -> None:
    with pytest.raises(NoObject):
        await store.get("demo-never-made", PATH)


async def test_many_at_once_are_all_kept(store: ObjectStore) -> None:
    await store.ensure_bucket(BUCKET)
    paths = [f"whatsapp-messages/2031-02-14/{n % 7}/{n}.json" for n in range(100)]
    async with asyncio.TaskGroup() as group:
        for path in paths:
            group.create_task(store.put(BUCKET, path, path.encode(), "application/json"))
    assert [await store.get(BUCKET, path) for path in paths] == [path.encode() for path in paths]


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../b", "/etc/passwd", "a//b", "", ".", "a/.b", "a\x00b", "a\\b", "x" * 4096, "a b", "ä", "a/", "-a"],
)
async def test_a_path_that_we_do_not_make_is_refused(store: ObjectStore, path: str) -> None:
    with pytest.raises(Refused):
        await store.put(BUCKET, path, b"x", "text/plain")
    with pytest.raises(Refused):
        await store.get(BUCKET, path)


@pytest.mark.parametrize("bucket", ["..", "", "a/b", "A-b", "x" * 64, "-ab", "ab-", "a.b", "a_b"])
async def test_a_bucket_that_we_do_not_make_is_refused(store: ObjectStore, bucket: str) -> None:
    with pytest.raises(Refused):
        await store.ensure_bucket(bucket)


@given(st.text(min_size=1))
def test_no_name_that_passes_leads_out_of_its_directory(path: str) -> None:
    try:
        check(BUCKET, path)
    except Refused:
        return
    root = Path("/srv/archive") / BUCKET
    assert os.path.normpath(root / path).startswith(f"{root}/")


async def test_a_paused_store_is_not_asked(emulated: str, session: ClientSession, tmp_path: Path) -> None:
    channel = Channel("storage")
    channel.paused = True
    for store in (
        FileStore(tmp_path / "archive", channel),
        GcsStore(GcsAccount(project="demo", emulator=emulated), session, channel),
    ):
        with pytest.raises(ChannelClosed):
            await store.put(BUCKET, PATH, b"x", "text/plain")
    assert not (tmp_path / "archive").exists()


# files


async def test_a_file_store_tells_where_and_what_a_disk_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    channel = Channel("storage")
    store = FileStore(tmp_path / "archive", channel)
    await store.put(BUCKET, PATH, b"old", "text/plain")
    assert Path(store.location(BUCKET, PATH).removeprefix("file://")).read_bytes() == b"old"

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr("adapters.storage.files.os.fsync", full)
    with pytest.raises(ChannelDown, match="there is no room left on its disk") as caught:
        await store.put(BUCKET, PATH, b"new", "text/plain")
    monkeypatch.undo()
    assert str(tmp_path) not in str(caught.value)
    assert not list((tmp_path / "archive" / ".incoming").iterdir())
    assert channel.state.word == "refused"
    assert (tmp_path / "archive" / BUCKET / PATH).read_bytes() == b"old"


async def test_what_a_dead_process_had_begun_is_tidied_up(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "archive", Channel("storage"))
    await store.put(BUCKET, PATH, b"x", "text/plain")
    old, new = (tmp_path / "archive" / ".incoming" / name for name in ("old", "new"))
    for file in (old, new):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    await store.ensure_bucket("demo-another")
    assert (old.exists(), new.exists()) == (False, True)


# Google


class Google:
    """Answers as Google does. *answers*: what it answers next, (status, body, headers)."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any, dict[str, str]]] = []
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.tokens: list[tuple[int, Any]] = []
        self.authorized: list[str | None] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path == "/token":
            self.asked.append(("token", request.path, {}))
            status, told = self.tokens.pop(0) if self.tokens else (200, {"access_token": "t1", "expires_in": 3600})
            return web.json_response(told, status=status)
        document = await request.json() if body and request.content_type == "application/json" else {}
        self.asked.append((request.method, request.path_qs, document))
        self.authorized.append(request.headers.get("Authorization"))
        status, told, headers = self.answers.pop(0) if self.answers else (200, {}, {})
        return web.json_response(told, status=status, headers=headers)


@pytest.fixture
async def google() -> AsyncIterator[Google]:
    made = Google()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()


def pem() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


@pytest.fixture(scope="module")
def key() -> str:
    return pem()


@pytest.fixture
def real(google: Google, session: ClientSession, key: str, monkeypatch: pytest.MonkeyPatch) -> GcsStore:
    """A store with a service account, whose calls go to *google*."""
    monkeypatch.setattr("adapters.storage.gcs.API", google.url)
    account = GcsAccount(
        project="demo", email="archive@demo.example.test", key=lambda: key, key_id="k1", token_url=f"{google.url}/token"
    )
    return GcsStore(account, session, Channel("storage"))


async def test_a_bucket_is_made_with_its_rules_in_one_request(real: GcsStore, google: Google) -> None:
    google.answers = [(200, {"name": BUCKET, "lifecycle": lifecycle()}, {})]
    await real.ensure_bucket(BUCKET)
    (_, _, _), (method, where, body) = google.asked
    assert (method, where) == ("POST", "/storage/v1/b?project=demo")
    assert (body["location"], body["storageClass"]) == ("US-CENTRAL1", "STANDARD")
    assert body["iamConfiguration"]["uniformBucketLevelAccess"] == {"enabled": True}
    ages = [(rule["condition"]["age"], rule["action"]["storageClass"]) for rule in body["lifecycle"]["rule"]]
    assert ages == [(30, "NEARLINE"), (90, "COLDLINE"), (365, "ARCHIVE")] == list(AGES)
    assert google.authorized == ["Bearer t1"]


async def test_a_bucket_that_a_crash_left_without_its_rules_gets_them(real: GcsStore, google: Google) -> None:
    google.answers = [(409, {}, {}), (200, {"items": [{"name": BUCKET}]}, {})]
    await real.ensure_bucket(BUCKET)
    assert [(method, where.partition("?")[0]) for method, where, _ in google.asked[1:]] == [
        ("POST", "/storage/v1/b"),
        ("GET", "/storage/v1/b"),
        ("PATCH", f"/storage/v1/b/{BUCKET}"),
    ]
    assert google.asked[-1][2] == {"lifecycle": lifecycle()}


@pytest.mark.parametrize("items", [{}, {"items": []}, {"items": [{"name": f"{BUCKET}-other"}]}])
async def test_a_bucket_of_somebody_else_is_never_ours(real: GcsStore, google: Google, items: dict[str, Any]) -> None:
    google.answers = [(409, {}, {}), (200, items, {})]
    with pytest.raises(BucketTaken):
        await real.ensure_bucket(BUCKET)
    assert len(google.asked) == 3  # the token, and no write after the two


def reason(name: str) -> dict[str, Any]:
    return {"error": {"code": 403, "errors": [{"reason": name}], "message": "archive@demo.example.test may not"}}


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (401, {}, ChannelDown),
        (403, reason("forbidden"), ChannelDown),
        (403, reason("accountDisabled"), ChannelDown),
        (403, reason("rateLimitExceeded"), Transient),
        (404, {}, NoObject),
        (400, reason("invalid"), Refused),
        (408, {}, Transient),
        (429, {}, Transient),
        (500, {}, Transient),
        (502, {}, Transient),
        (503, {}, Transient),
    ],
)
async def test_an_answer_says_what_to_do_next(
    real: GcsStore, google: Google, status: int, body: dict[str, Any], expected: type[FerrymanError]
) -> None:
    google.answers = [(status, body, {"Retry-After": "7"})]
    with pytest.raises(FerrymanError) as caught:
        await real.put(BUCKET, PATH, b"x", "text/plain")
    error = caught.value
    assert (type(error), error.code, error.channel) == (expected, f"http-{status}", "storage")
    assert "example" not in str(error)
    if isinstance(error, Transient):
        assert error.limited == (status in (403, 429))
        assert error.retry_after_s == 7.0


async def test_a_token_is_asked_for_once_and_again_when_it_is_refused(real: GcsStore, google: Google) -> None:
    for _ in range(3):
        await real.put(BUCKET, PATH, b"x", "text/plain")
    assert [what for what, _, _ in google.asked].count("token") == 1
    google.answers = [(401, {}, {})]
    with pytest.raises(ChannelDown):
        await real.put(BUCKET, PATH, b"x", "text/plain")
    real._channel.probe_now()
    await real.put(BUCKET, PATH, b"x", "text/plain")
    assert [what for what, _, _ in google.asked].count("token") == 2


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [(400, {"error": "invalid_grant"}, ChannelDown), (503, {}, Transient), (200, {"nothing": "here"}, ChannelDown)],
)
async def test_a_token_that_is_not_given_says_what_to_do_next(
    real: GcsStore, google: Google, status: int, body: dict[str, Any], expected: type[FerrymanError]
) -> None:
    google.tokens = [(status, body)]
    with pytest.raises(expected):
        await real.put(BUCKET, PATH, b"x", "text/plain")
    assert [what for what, _, _ in google.asked] == ["token"]


async def test_a_key_that_is_none_stops_the_channel(google: Google, session: ClientSession) -> None:
    account = GcsAccount(project="demo", email="a@example.test", key=lambda: "no key", token_url=f"{google.url}/token")
    with pytest.raises(ChannelDown, match="GCS_PRIVATE_KEY"):
        await GcsStore(account, session, Channel("storage")).put(BUCKET, PATH, b"x", "text/plain")


async def test_a_server_that_is_not_there_is_tried_again(session: ClientSession) -> None:
    store = GcsStore(GcsAccount(project="demo", emulator="http://127.0.0.1:9"), session, Channel("storage"))
    with pytest.raises(Transient) as caught:
        await store.put(BUCKET, PATH, b"x", "text/plain")
    assert caught.value.code == "no-connection"


@pytest.fixture
def service_account(google: Google, key: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings of a service account whose calls go to *google*."""
    monkeypatch.setattr("adapters.storage.gcs.API", google.url)
    return {
        "GCS_CLIENT_EMAIL": "archive@demo.iam.gserviceaccount.com",
        "GCS_PRIVATE_KEY": key,
        "GCS_TOKEN_URL": f"{google.url}/token",
    }


async def looked_at(service_account: dict[str, str]) -> Looked:
    (one,) = await look_at_accounts(load_settings(service_account, None, known={}))
    return one


async def test_an_account_that_works_is_looked_at_by_a_token_and_one_read(
    google: Google, service_account: dict[str, str]
) -> None:
    looked = await looked_at(service_account)
    assert (looked.system, looked.works) == ("storage", True), looked
    assert [(method, where) for method, where, _ in google.asked] == [
        ("token", "/token"),
        ("GET", "/storage/v1/b?project=demo&maxResults=1"),
    ]


@pytest.mark.parametrize(
    ("changed", "tokens", "answers", "named"),
    [
        ({"GCS_CLIENT_EMAIL": "archive@demo.example.test"}, [], [], "GCS_PROJECT_ID"),
        ({}, [(400, {"error": "invalid_grant"})], [], "GCS_CLIENT_EMAIL"),
        ({}, [(200, {"nothing": "here"})], [], "GCS_TOKEN_URL"),
        ({}, [], [(403, reason("forbidden"), {})], "Storage Admin"),
        ({"GCS_PROJECT_ID": "other"}, [], [(404, {}, {})], "GCS_PROJECT_ID"),
        ({}, [], [(503, {}, {})], "no setting is known to be wrong"),
    ],
)
async def test_an_account_that_does_not_work_says_which_setting_is_wrong(
    google: Google,
    service_account: dict[str, str],
    changed: dict[str, str],
    tokens: list[Any],
    answers: list[Any],
    named: str,
) -> None:
    google.tokens, google.answers = tokens, answers
    looked = await looked_at({name: text for name, text in (service_account | changed).items() if text})
    assert not looked.works
    said = " ".join(f"{one.text} {one.do}" for one in looked.findings)
    assert named in said
    assert "example" not in said


async def test_the_emulator_keeps_the_rules_of_ageing(emulated: str, session: ClientSession) -> None:
    store = GcsStore(GcsAccount(project="demo", emulator=emulated), session, Channel("storage"))
    for _ in range(2):
        await store.ensure_bucket("demo-with-rules")
    async with session.get(f"{emulated}/storage/v1/b/demo-with-rules") as answer:
        assert (await answer.json())["lifecycle"] == lifecycle()
