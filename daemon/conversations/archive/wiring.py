"""What the archive needs of the outside, and what it counts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from adapters.postgres import notes, users
from adapters.postgres.notes import FileState
from adapters.postgres.users import Who
from adapters.registry import file_store, gcs_store
from daemon.bus.batcher import Batcher
from daemon.bus.metrics import OF_ALL
from daemon.bus.worker import Domain, Duty, Outside
from daemon.conversations.archive import objects
from daemon.conversations.archive import users as mapping
from daemon.conversations.archive.fetching import Fetching
from daemon.conversations.archive.media import Media
from daemon.conversations.archive.storing import Archive
from daemon.messages.wiring import own_servers
from daemon.telemetry.declared import Declared
from schemas.service_account import project_in

if TYPE_CHECKING:
    from adapters.conversation_ports import ObjectStore
    from adapters.ports import FetchedFile
    from adapters.postgres.pool import Pool
    from daemon.settings.model import Settings

STORAGE: Final = "storage"
"""The channel of the object store."""

EMULATED_PROJECT: Final = "ferryman"
"""The project of the buckets at an emulator, which takes any."""

METRICS: Final = (
    Declared(
        "ferryman_archive_waiting",
        "gauge",
        f"Objects of the archive that wait in Postgres for the object store. {OF_ALL}",
    ),
)


class Asked(NamedTuple):
    """A message about which something is asked. *fallback*: what stands for its user where nobody is known."""

    message_key: str
    who: Who
    fallback: str


class Found(NamedTuple):
    """Whether a message is archived already, its user, and the bucket of that user or of what stands for one; None:
    not known."""

    archived: bool
    user: str | None
    bucket: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveDeps:
    """The outside as the handlers of this domain see it. *archive*: where objects go. *find*: answers what is known of
    a message. *file_state*: how a file stands. *buckets*: user -> bucket, of those that have one. *fetch*: the file of
    a system at an address, or by the system's id of it, that came to this number of ours; None where it is not fetched.
    *prefix*: how names of buckets begin. *whatsapp_inbox*: Chatwoot's inbox of WhatsApp."""

    archive: Archive
    find: Callable[[Asked], Awaitable[Found]]
    file_state: Callable[[UUID], Awaitable[FileState | None]]
    buckets: Callable[[Sequence[str]], Awaitable[dict[str, str]]]
    fetch: Callable[[str, str | None, str | None, str | None], Awaitable[FetchedFile | None]]
    prefix: str
    whatsapp_inbox: int


@asynccontextmanager
async def open_store(outside: Outside) -> AsyncIterator[Archive]:
    """The archive of this installation, an `ObjectStore`. Its `get` also finds an object that still waits in Postgres,
    and one that has gone to another bucket since: *bucket* and *path* of an `attachment.stored` event stay good."""
    yield Archive(_store(outside), outside.pool)


def _store(outside: Outside) -> ObjectStore:
    settings, channel = outside.settings, outside.channels[STORAGE]
    if not in_cloud(settings):
        return file_store(settings.ferryman_data_dir / "archive", channel)
    return gcs_store(
        outside.session,
        channel,
        project=project_of(settings) or EMULATED_PROJECT,
        emulator=settings.storage_emulator_host,
        email=settings.gcs_client_email or "",
        key=lambda: outside.secret("gcs_private_key"),
        key_id=settings.gcs_private_key_id or "",
        token_url=settings.gcs_token_url,
    )


def in_cloud(settings: Settings) -> bool:
    """Whether the archive is in Google Cloud Storage, or an emulator of it; else in files."""
    return settings.storage_emulator_host is not None or settings.gcs_private_key is not None


def project_of(settings: Settings) -> str | None:
    """The project of the buckets; where it is not set, that of the service account."""
    return settings.gcs_project_id or project_in(settings.gcs_client_email or "")


def lacking(settings: Settings) -> str | None:
    """What the archive lacks, as a sentence; None: nothing."""
    if in_cloud(settings) and settings.storage_emulator_host is None and project_of(settings) is None:
        return "set GCS_PROJECT_ID"
    return None


@asynccontextmanager
async def _opened(outside: Outside) -> AsyncIterator[ArchiveDeps]:
    from adapters.files import open_files

    settings = outside.settings
    lookups: Batcher[Asked, Found] = Batcher(partial(_find, outside.pool))
    files: Batcher[UUID, FileState | None] = Batcher(partial(notes.file_states, outside.pool))
    async with open_store(outside) as archive, open_files(own=own_servers(settings)) as fetched:
        fetching = Fetching(fetched, outside.channels, settings, Media(outside, fetched).source)
        yield ArchiveDeps(
            archive=archive,
            find=lookups.submit,
            file_state=files.submit,
            buckets=partial(users.buckets, outside.pool),
            fetch=fetching.fetch,
            prefix=settings.gcs_bucket_prefix,
            whatsapp_inbox=settings.chatwoot_whatsapp_inbox_id,
        )


async def _find(pool: Pool, asked: Sequence[Asked]) -> list[Found]:
    archived = await notes.archived(pool, [one.message_key for one in asked])
    found = await users.find(pool, [one.who for one in asked])
    owners = [user or one.fallback for user, one in zip(found, asked, strict=True)]
    buckets = await users.buckets(pool, list(dict.fromkeys(owners)))
    return [
        Found(one.message_key in archived, user, buckets.get(owner))
        for one, user, owner in zip(asked, found, owners, strict=True)
    ]


def _duties(outside: Outside, deps: ArchiveDeps) -> Sequence[Duty]:
    moving = objects.Moving(outside.pool, deps.archive, deps.prefix)

    async def measure() -> None:
        outside.metrics.set("ferryman_archive_waiting", await moving.waiting(), {})

    async def assign() -> None:
        await mapping.apply(outside.pool)

    return (
        Duty("archive-waiting", moving.waiting_objects, 1.0),
        Duty("archive-moves", moving.notes, 2.0),
        Duty("archive-leftovers", moving.leftovers, 10.0),
        Duty("archive-measured", measure, 10.0),
        Duty("user-mappings", assign, 60.0),
    )


ARCHIVE: Final[Domain[ArchiveDeps]] = Domain(name="archive", opened=_opened, metrics=METRICS, duties=_duties)
