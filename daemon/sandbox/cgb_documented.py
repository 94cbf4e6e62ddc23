"""The CGB simulator's documented API: a gateway built to the older documents."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from daemon.sandbox.cgb_account import MADE, Account, Contact, Switches, bare
from daemon.sandbox.faults import body_json


class DocumentedApi:
    """Handlers over an account. Those that make a contact set `MADE` on the request."""

    def __init__(self, account: Account, switches: Switches) -> None:
        self._account = account
        self._switches = switches

    def routes(self) -> list[web.RouteDef]:
        """The four endpoints of the documents, and their health check."""
        return [
            web.get("/api/health", self._health),
            web.post("/api/contacts", self._create),
            web.get("/api/contacts/{contact}", self._show),
            web.put("/api/contacts/{contact}", self._update),
            web.get("/api/whatsapp/validate/{contact}", self._validate),
        ]

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _show(self, request: web.Request) -> web.Response:
        contact = self._find(request)
        return web.json_response(_shown(contact)) if contact else _no("Contact not found", 404)

    async def _create(self, request: web.Request) -> web.Response:
        asked = body_json(await request.read())
        phone = asked.get("phone") if isinstance(asked, dict) else None
        if not isinstance(phone, str) or not bare(phone).isdigit() or not isinstance(asked.get("cufs", {}), dict):
            return _no("phone is required", 400)
        if refusal := self._bad_field(asked.get("cufs", {})):
            return refusal
        contact = self._account.contacts.get(bare(phone))
        if contact is not None and self._switches.second_post == "refuse":
            return _no(f"Contact {phone} already exists", 409)
        if contact is None:
            contact = self._account.make(
                phone, email=str(asked.get("email") or ""), first_name=str(asked.get("name") or "")
            )
            request[MADE] = True
        contact.write(asked.get("cufs", {}))
        created_at = datetime.now(UTC).isoformat()
        return web.json_response({**_shown(contact), "created_at": created_at}, status=201)

    async def _update(self, request: web.Request) -> web.Response:
        asked, contact = body_json(await request.read()), self._find(request)
        if contact is None:
            return _no("Contact not found", 404)
        if not isinstance(asked, dict) or not isinstance(asked.get("cufs"), dict):
            return _no("cufs is required", 400)
        if refusal := self._bad_field(asked["cufs"]):
            return refusal
        contact.write(asked["cufs"])
        return web.json_response(_shown(contact))

    async def _validate(self, request: web.Request) -> web.Response:
        digits = bare(request.match_info["contact"])
        return web.json_response({"valid": self._switches.whatsapp and digits not in self._switches.no_whatsapp})

    def _bad_field(self, cufs: dict[str, Any]) -> web.Response | None:
        if self._switches.unknown_field == "error" and (unknown := set(cufs) - set(self._account.fields)):
            return _no(f"Unknown field {min(unknown)}", 400)
        return None

    def _find(self, request: web.Request) -> Contact | None:
        return self._account.contacts.get(bare(request.match_info["contact"]))


def _shown(contact: Contact) -> dict[str, Any]:
    return {
        "id": contact.id,
        "phone": contact.phone,
        "name": contact.first_name,
        "email": contact.email,
        "cufs": contact.values,
    }


def _no(text: str, status: int) -> web.Response:
    return web.json_response({"error": text}, status=status)
