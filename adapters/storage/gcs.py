"""Objects in Google Cloud Storage, through `gcloud-aio-storage` on the client of this process.

The package makes no buckets and knows no rules of ageing, so those calls go to the JSON API with its token:
https://cloud.google.com/storage/docs/json_api/v1/buckets.

The name of a bucket is one of the whole world. Whoever knows how ours are made may have made one before us, and would
be handed what people write. So a bucket that is there already counts as ours only where the list of our own project
has it: that it can be read, or written, says nothing.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from datetime import UTC, datetime
from typing import Any, Final, TypeVar, cast

import orjson
from aiohttp import ClientConnectorError, ClientError, ClientResponseError, ClientSession, ConnectionTimeoutError
from gcloud.aio.auth import Token
from gcloud.aio.storage import SCOPES, Storage

from adapters.channel import Channel
from adapters.conversation_ports import BucketTaken, NoObject
from adapters.http import coded, retry_after
from adapters.storage.account import GcsAccount
from adapters.storage.names import check
from schemas.errors import ChannelDown, FerrymanError, Operation, Refused, Transient

T = TypeVar("T")

API: Final = "https://storage.googleapis.com"
LOCATION: Final = "US-CENTRAL1"
AGES: Final = ((30, "NEARLINE"), (90, "COLDLINE"), (365, "ARCHIVE"))
"""After so many days an object goes to that class of storage."""

AT_ONCE: Final = 32
AT_ONCE_EMULATED: Final = 8
"""gcp-storage-emulator 2026.7 hangs at about a hundred uploads at a time."""

DEADLINE_S: Final = 30.0
"""For one call; an upload has a second more for each megabyte."""

_MEGABYTE: Final = 1_000_000
_LIMITS: Final = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"})
_LATER: Final = frozenset({408, 409, 412, 429})
_REASON: Final = re.compile(r'"reason":\s*"([A-Za-z]{1,40})"')


class _Token(Token):
    """A token that is asked for once: the bus tries again, and knows for how long."""

    async def acquire_access_token(self, timeout: int = 10) -> None:  # type: ignore[override]
        await cast("Any", Token.acquire_access_token).__wrapped__(self, timeout)


class GcsStore:
    """The `ObjectStore` of an account at Google. Its calls go through *channel*, on *session*."""

    def __init__(self, account: GcsAccount, session: ClientSession, channel: Channel) -> None:
        self._account = account
        self._channel = channel
        self._api = f"{account.emulator or API}/storage/v1/b"
        self._turns = asyncio.Semaphore(AT_ONCE_EMULATED if account.emulator else AT_ONCE)
        client = cast("Any", session)  # the package's stubs name the client of its other build
        emulated = account.emulator is not None
        self._token = _Token(service_file=io.StringIO(_service_account(account)), session=client, scopes=SCOPES)
        self._storage = Storage(
            token=self._token, session=client, api_root=account.emulator or API, api_is_dev=emulated
        )

    async def ensure_bucket(self, name: str) -> None:
        """See `ObjectStore`."""
        check(name)
        await self._call("write", lambda: self._ensure(name))

    async def put(self, bucket: str, path: str, body: bytes, content_type: str) -> None:
        """See `ObjectStore`."""
        check(bucket, path)
        seconds = int(DEADLINE_S + len(body) / _MEGABYTE)
        # one request; but the emulator takes JSON that comes so for parameters of its own
        resumable = self._account.emulator is not None and content_type.startswith("application/json")

        async def upload() -> None:
            await self._storage.upload(
                bucket, path, body, content_type=content_type, force_resumable_upload=resumable, timeout=seconds
            )

        await self._call("write", upload, seconds)

    async def get(self, bucket: str, path: str) -> bytes:
        """See `ObjectStore`."""
        check(bucket, path)
        seconds = 2 * DEADLINE_S
        return await self._call("read", lambda: self._storage.download(bucket, path, timeout=int(seconds)), seconds)

    async def delete(self, bucket: str, path: str) -> None:
        """See `ObjectStore`."""
        check(bucket, path)

        async def delete() -> None:
            try:
                await self._storage.delete(bucket, path, timeout=int(DEADLINE_S))
            except ClientResponseError as exc:
                if exc.status != 404:
                    raise

        await self._call("write", delete)

    async def look(self) -> None:
        """List a bucket of the project, past the channel: whether the account works. Raises: as the other calls."""
        params = {"project": self._account.project, "maxResults": "1"}
        await self._made(lambda: self._json("GET", self._api, None, params), DEADLINE_S)

    def location(self, bucket: str, path: str) -> str:
        """See `ObjectStore`."""
        return f"gs://{bucket}/{path}"

    async def _ensure(self, name: str) -> None:
        params = {"project": self._account.project}
        try:
            made = await self._json("POST", self._api, bucket_of(name), params)
        except ClientResponseError as exc:
            if exc.status != 409:
                raise
            listed = await self._json("GET", self._api, None, {**params, "prefix": name})
            made = next((one for one in listed.get("items", ()) if one.get("name") == name), {})
            if not made:
                text = "the bucket's name belongs to another project of Google's"
                raise coded(BucketTaken(text), "bucket-taken") from None
        if not made.get("lifecycle"):
            await self._json("PATCH", f"{self._api}/{name}", {"lifecycle": lifecycle()}, {})

    async def _json(
        self, method: str, url: str, body: Mapping[str, Any] | None, params: Mapping[str, str]
    ) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self._account.emulator is None:
            headers["Authorization"] = f"Bearer {await self._token.get()}"
        data = None if body is None else orjson.dumps(body)
        answer = await self._storage.session.request(method, url, headers, data=data, params=dict(params))
        document = await answer.json(content_type=None)
        return document if isinstance(document, dict) else {}

    async def _call(self, operation: Operation, work: Callable[[], Awaitable[T]], seconds: float = DEADLINE_S) -> T:
        return await self._channel.call(operation, lambda: self._made(work, seconds))

    async def _made(self, work: Callable[[], Awaitable[T]], seconds: float) -> T:
        async with self._turns:
            await self._have_token()
            try:
                async with asyncio.timeout(seconds):
                    return await work()
            except (ClientError, OSError) as exc:  # `from None`: aiohttp's texts hold what Google wrote
                raise self._failure(exc) from None

    async def _have_token(self) -> None:
        """Have a token that is in force. It is everybody's, so the lease of the event that happens to ask for it does
        not decide whether it is got: its task has a context of its own."""
        if self._account.emulator is not None:
            return
        try:
            async with asyncio.timeout(DEADLINE_S):
                # shielded: the token comes for the others too, where this call is given up
                await asyncio.shield(asyncio.create_task(self._token.ensure_token(), context=Context()))
        except ClientResponseError as exc:
            if exc.status == 429 or exc.status >= 500:
                raise coded(Transient("Google gives no access token now"), f"http-{exc.status}") from None
            text = "Google refuses the service account: check GCS_CLIENT_EMAIL, GCS_PRIVATE_KEY and GCS_PRIVATE_KEY_ID"
            raise self._down(text, f"http-{exc.status}") from None
        except (ClientError, OSError):
            raise coded(Transient("no connection to where access tokens come from"), "no-connection") from None
        except Exception:  # of the packages that sign, each with its own: the key is none; or the answer is no token
            raise self._down("GCS_PRIVATE_KEY is no private key, or GCS_TOKEN_URL gives no token", "no-token") from None

    def _failure(self, exc: ClientError | OSError) -> FerrymanError:
        """What *exc* means for what is done next."""
        match exc:
            case ClientResponseError(status=status):
                return coded(self._answer(exc), f"http-{status}")
            case ClientConnectorError() | ConnectionTimeoutError():
                return coded(Transient("Google Cloud Storage: no connection"), "no-connection")
            case TimeoutError():
                return coded(Transient("Google Cloud Storage: no answer in time"), "no-answer")
        return coded(Transient("Google Cloud Storage: the connection broke before the answer"), "connection-broke")

    def _answer(self, exc: ClientResponseError) -> FerrymanError:
        reasons = set(_REASON.findall(exc.message))
        patience = retry_after(exc.headers or {}, datetime.now(UTC))
        if exc.status == 429 or reasons & _LIMITS:
            return Transient("Google Cloud Storage asks for patience", retry_after_s=patience, limited=True)
        if exc.status in _LATER or exc.status >= 500:
            return Transient(f"Google Cloud Storage answers HTTP {exc.status}", retry_after_s=patience)
        if exc.status == 404:
            return NoObject("Google Cloud Storage: there is no such object, or no such bucket")
        if exc.status in (401, 402, 403):
            if exc.status == 401:
                self._token.access_token = None  # it may have been revoked: the next call asks for another one
            text = "Google Cloud Storage refuses the service account: check its roles, and the project's billing"
            return self._down(text, f"http-{exc.status}")
        return Refused(f"Google Cloud Storage answers HTTP {exc.status}")

    def _down(self, text: str, code: str) -> ChannelDown:
        return coded(ChannelDown(text, channel=self._channel.name), code)


def _service_account(account: GcsAccount) -> str:
    """The account as Google's own file of a service account has it, which is what the package reads."""
    return json.dumps(
        {
            "type": "service_account",
            "project_id": account.project,
            "client_email": account.email,
            "private_key": "" if account.emulator else account.key(),
            "private_key_id": account.key_id,
            "token_uri": account.token_url,
        }
    )


def bucket_of(name: str) -> dict[str, Any]:
    """A bucket as the JSON API makes it: nobody but the project's own people can be let in."""
    return {
        "name": name,
        "location": LOCATION,
        "storageClass": "STANDARD",
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"},
        "lifecycle": lifecycle(),
    }


def lifecycle() -> dict[str, Any]:
    """The rules of ageing, as the JSON API has them."""
    return {
        "rule": [
            {"action": {"type": "SetStorageClass", "storageClass": kind}, "condition": {"age": days}}
            for days, kind in AGES
        ]
    }
