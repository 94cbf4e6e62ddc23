"""The CGB simulator's live API: what the running service answers, endpoint by endpoint."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from daemon.sandbox.cgb_account import MADE, NUMBER, Account, Contact, Switches, bare
from daemon.sandbox.cgb_statuses import Statuses
from daemon.sandbox.faults import body_json, failure

_OUTSIDE_THE_WINDOW: Final = frozenset({"template", "flow"})
_GENDERS: Final = {"female": 0, "male": 1}


class LiveApi:
    """Handlers over an account. Those that make a contact set `MADE` on the request."""

    def __init__(self, account: Account, switches: Switches, statuses: Statuses) -> None:
        self._account = account
        self._switches = switches
        self._statuses = statuses

    def routes(self) -> list[web.RouteDef]:
        """Every endpoint. All other requests get 404, also PUT on a contact, /health and /whatsapp/validate."""
        contact = "/api/contacts/{contact}"
        return [
            web.get("/api/accounts/me", self._me),
            web.get("/api/accounts/tags", self._tags),
            web.get("/api/accounts/flows", self._flows),
            web.get("/api/accounts/custom_fields", self._fields),
            web.post("/api/accounts/custom_fields", self._make_field),
            web.get("/api/contacts/find_by_custom_field", self._search),
            web.post("/api/contacts", self._create),
            web.get(contact, self._show),
            web.get(contact + "/tags", self._contact_tags),
            web.post(contact + "/tags/{tag}", self._tag),
            web.delete(contact + "/tags/{tag}", self._tag),
            web.get(contact + "/custom_fields", self._values),
            web.post(contact + "/custom_fields/{field}", self._write_value),
            web.post(contact + "/send/text", self._send_text),
            web.post(contact + "/send/file", self._send_file),
            web.post(contact + "/send/{flow}", self._send_flow),
            web.post(contact + "/send_content", self._send_content),
        ]

    async def _me(self, request: web.Request) -> web.Response:
        return web.json_response(
            {"page_id": 100001, "name": "Sandbox", "active": True, "total_users": len(self._account.contacts)}
        )

    async def _tags(self, request: web.Request) -> web.Response:
        return web.json_response([{"id": i, "name": name} for name, i in self._account.tags.items()])

    async def _flows(self, request: web.Request) -> web.Response:
        return web.json_response([{"id": i, "name": name} for i, name in self._account.flows.items()])

    async def _fields(self, request: web.Request) -> web.Response:
        rows = [
            {"id": field_id, "name": name, "type": kind, "description": ""}
            for name, (field_id, kind) in self._account.fields.items()
        ]
        return web.json_response(rows)

    async def _make_field(self, request: web.Request) -> web.Response:
        asked = body_json(await request.read())
        if not isinstance(asked, dict) or not isinstance(asked.get("name"), str):
            return self._no("name is required")
        field_id = 620000 + len(self._account.fields)
        self._account.fields[asked["name"]] = (field_id, int(asked.get("type", 0)))
        return web.json_response({"id": field_id, "name": asked["name"]})

    async def _show(self, request: web.Request) -> web.Response:
        contact = self._find(request)
        if contact is not None:
            return web.json_response(self._account.shown(contact))
        if self._switches.ghost == "404":
            return web.json_response({"error": {"code": 404, "message": "Contact not found"}}, status=404)
        ghost = self._account.shown(Contact(id="0", phone=""))
        return web.json_response({**ghost, "id": request.match_info["contact"]})

    async def _search(self, request: web.Request) -> web.Response:
        field_id, value = request.query.get("field_id"), request.query.get("value")
        if not field_id or value is None:
            return web.json_response({"error": {"code": 400, "message": "Bad parameters"}}, status=400)
        found = [c for c in self._account.contacts.values() if self._matches(c, field_id, value)]
        found.sort(key=lambda c: c.touched_at, reverse=True)
        return web.json_response({"data": [self._account.shown(c) for c in found[:100]]})

    def _matches(self, contact: Contact, field_id: str, value: str) -> bool:
        if field_id in ("phone", "-8"):
            tolerant = self._switches.plus_tolerant_search
            return contact.phone == (bare(value) if tolerant else value)
        if field_id in ("email", "-12"):
            return contact.email == value
        name = self._account.field_by_id(field_id)
        return name is not None and contact.values.get(name) == value

    async def _create(self, request: web.Request) -> web.Response:
        asked = body_json(await request.read())
        phone = asked.get("phone") if isinstance(asked, dict) else None
        if not isinstance(phone, str) or not bare(phone).isdigit():
            return self._no("phone is required")
        contact = self._account.contacts.get(bare(phone))
        if contact is not None and self._switches.second_post == "refuse":
            return self._no(f"A contact with phone {phone} already exists")
        if refusal := self._bad_action(asked.get("actions")):
            return refusal
        if contact is None:
            # Name, e-mail and gender are fixed by the first creation; later ones only run their actions.
            contact = self._account.make(
                phone,
                email=str(asked.get("email") or ""),
                first_name=str(asked.get("first_name") or ""),
                last_name=str(asked.get("last_name") or ""),
                gender=_GENDERS.get(asked.get("gender", ""), 2),
            )
            request[MADE] = True
        self._act(contact, asked.get("actions"))
        return web.json_response({"success": True, "data": {"id": contact.id}})

    async def _contact_tags(self, request: web.Request) -> web.Response:
        contact = self._find(request)
        return web.json_response(self._account.shown(contact)["tags"] if contact else [])

    async def _tag(self, request: web.Request) -> web.Response:
        contact, tag = self._find(request), request.match_info["tag"]
        if contact is None or tag not in map(str, self._account.tags.values()):
            return self._no("Not found")
        (contact.tags.add if request.method == "POST" else contact.tags.discard)(int(tag))
        return web.json_response({"success": True})

    async def _values(self, request: web.Request) -> web.Response:
        contact = self._find(request)
        return web.json_response(self._account.values_shown(contact) if contact else [])

    async def _write_value(self, request: web.Request) -> web.Response:
        contact, name = self._find(request), self._account.field_by_id(request.match_info["field"])
        if request.content_type != "application/x-www-form-urlencoded" or "value" not in await request.post():
            return self._no("value is required")
        if contact is None or name is None:
            return self._no("Contact or field not found")
        value = str((await request.post())["value"])
        if self._account.fields[name][1] == NUMBER and not value.replace(".", "", 1).lstrip("-").isdigit():
            return self._no("The value is not a number")
        contact.write({name: value})
        return web.json_response({"success": True})

    async def _send_text(self, request: web.Request) -> web.Response:
        asked = body_json(await request.read())
        if not isinstance(asked, dict) or not asked.get("text"):
            return self._no("text is required")
        return self._take(self._find(request), [{"type": "text", **asked}])

    async def _send_file(self, request: web.Request) -> web.Response:
        asked = body_json(await request.read())
        if not isinstance(asked, dict) or not asked.get("url"):
            return self._no("url is required")
        return self._take(self._find(request), [{**asked, "type": asked.get("type", "document")}])

    async def _send_flow(self, request: web.Request) -> web.Response:
        contact, flow = self._find(request), request.match_info["flow"]
        if contact is None or not flow.isdigit() or int(flow) not in self._account.flows:
            return self._no("Not found")
        self._account.run_flow(contact, int(flow), self._switches.lag_s)
        return self._take(contact, [{"type": "flow", "flow_id": int(flow)}])

    async def _send_content(self, request: web.Request) -> web.Response:
        asked = body_json(await request.read())
        if not isinstance(asked, dict) or not isinstance(asked.get("messages"), list):
            return self._no("messages is required")
        if not asked["messages"] and self._switches.empty_messages == "refuse":
            return self._no("messages must not be empty")
        contact = self._find(request)
        if contact is None:
            return self._no("Contact not found")
        if refusal := self._bad_action(asked.get("actions")):
            return refusal
        self._act(contact, asked.get("actions"))
        return self._take(contact, asked["messages"])

    def _take(self, contact: Contact | None, messages: list[Any]) -> web.Response:
        """Accept messages; outside the 24-hour window only templates will ever be delivered, and flows, which may send
        one."""
        if contact is None:
            return self._no("Contact not found")
        for message in messages:
            kind = str(message.get("type", "text")) if isinstance(message, dict) else "text"
            outcome = self._switches.outcomes.get(contact.phone, self._switches.outcome)
            if kind not in _OUTSIDE_THE_WINDOW and not contact.in_window:
                outcome = "drop"
            delay_s = self._switches.status_delay_s
            self._statuses.accept(contact.phone, kind, message, outcome=outcome, delay_s=delay_s)
        return web.json_response({"success": True})

    def _bad_action(self, actions: Any) -> web.Response | None:
        """The refusal of an unknown field name, where the simulator is set to refuse those."""
        if self._switches.unknown_field == "error":
            for action in actions if isinstance(actions, list) else ():
                if action.get("action") == "set_field_value" and action.get("field_name") not in self._account.fields:
                    return self._no(f"Custom field {action.get('field_name')} does not exist")
        return None

    def _act(self, contact: Contact, actions: Any) -> None:
        """Run actions. Fields are set by name only; unknown names are ignored."""
        for action in actions if isinstance(actions, list) else ():
            match action:
                case {"action": "set_field_value", "field_name": str(name), "value": value}:
                    if name in self._account.fields:
                        contact.write({name: value})
                case {"action": "add_tag", "tag_name": str(name)}:
                    contact.tags.add(self._account.tag(name))
                case {"action": "remove_tag", "tag_name": str(name)}:
                    contact.tags.discard(self._account.tags.get(name, 0))
                case {"action": "send_flow", "flow_id": int(flow)} if flow in self._account.flows:
                    self._account.run_flow(contact, flow, self._switches.lag_s)

    def _find(self, request: web.Request) -> Contact | None:
        return self._account.contacts.get(bare(request.match_info["contact"]))

    def _no(self, text: str) -> web.Response:
        return failure(text, shape=self._switches.error_shape, status=self._switches.error_status)
