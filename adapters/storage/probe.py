"""A look at an account at Google Cloud Storage, or at an emulator: whether it gives a token, and lists the buckets of
the project. Nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from aiohttp import ClientSession

from adapters.channel import Channel
from adapters.ports import Probe, Sign
from adapters.probing import no_way
from adapters.storage.account import GcsAccount
from adapters.storage.gcs import GcsStore
from schemas.errors import FerrymanError
from schemas.service_account import project_in

_CHANNEL: Final = "storage"
_PROJECT: Final = "that of the buckets; there the account needs the role Storage Admin, and the project billing"
_EMULATED: Final = "ferryman"
"""An emulator takes any project."""


async def look(session: ClientSession, account: Mapping[str, str]) -> Sequence[Sign]:
    """See `Probe`."""
    emulator = account.get("emulator")
    project = account.get("project") or project_in(account.get("email", ""))
    if project is None and emulator is None:
        return [Sign("error", "storage is not used: GCS_PROJECT_ID is not set", f"GCS_PROJECT_ID: {_PROJECT}")]
    store = GcsStore(
        GcsAccount(
            project=project or _EMULATED,
            emulator=emulator,
            email=account.get("email", ""),
            key=lambda: account.get("key", ""),
            key_id=account.get("key_id", ""),
            token_url=account["token_url"],
        ),
        session,
        Channel(_CHANNEL),
    )
    await store.look()
    if emulator is not None:
        return [Sign("ok", "storage is an emulator, which answers: unset STORAGE_EMULATOR_HOST to use Google")]
    return [Sign("ok", "storage takes the service account, and lists the buckets of its project")]


def blamed(error: FerrymanError) -> Sequence[str]:
    """See `Probe`. A token is refused with 400 or 401, a project with 403 or 404."""
    if error.code in ("http-400", "http-401"):
        return "gcs_client_email", "gcs_private_key", "gcs_private_key_id"
    if error.code == "no-token":
        return "gcs_private_key", "gcs_token_url"
    if error.code in ("http-403", "http-404", "no-object"):
        return ("gcs_project_id",)
    return ("storage_emulator_host",) if no_way(error) else ()


PROBE: Final = Probe(
    system=_CHANNEL,
    values={
        "emulator": "storage_emulator_host",
        "email": "gcs_client_email",
        "key": "gcs_private_key",
        "key_id": "gcs_private_key_id",
        "project": "gcs_project_id",
        "token_url": "gcs_token_url",
    },
    needs=(),
    places={
        "gcs_client_email": "client_email in the file of the service account",
        "gcs_private_key": "private_key in the file of the service account, with its \\n",
        "gcs_private_key_id": "private_key_id in the file of the service account; unset where it was deleted there",
        "gcs_token_url": "https://oauth2.googleapis.com/token",
        "gcs_project_id": _PROJECT,
        "storage_emulator_host": "the address at which the emulator listens; unset it to use Google",
    },
    look=look,
    blamed=blamed,
)
