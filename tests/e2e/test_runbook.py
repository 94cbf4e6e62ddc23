"""deploy/README.md is true: every command of it is run here, and what it promises that you see is what is seen.

Each section of the runbook has a test that brings its symptom about. A row's `run` is repeated until its output has the
row's `you see` in it (`N`: a number, `…`: anything); then the `ferryman` commands of its `do` are run.
"""

from __future__ import annotations

import base64
import json
import random
import re
import shlex
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import pytest
import standardwebhooks
from redis.asyncio import Redis

from adapters.postgres.pool import Pool
from adapters.redis.inspect import RedisServer
from adapters.redis.streams import stream_key
from adapters.registry import SOURCES
from daemon.cli.main import VERBS
from daemon.operator.doctor import examine
from daemon.operator.inspection import Inspection
from daemon.sandbox import orders
from daemon.sandbox.cgb import TOKEN, CgbSandbox
from daemon.sandbox.cgb_flows import CgbFlows
from daemon.sandbox.chatwoot import ChatwootSandbox
from daemon.sandbox.chatwoot_account import ACCOUNT_ID, INBOX_ID
from daemon.sandbox.meta import MetaSandbox
from daemon.sandbox.reports import make_report
from daemon.sandbox.vizi import Vizi
from daemon.settings.model import Settings
from daemon.stores.embedded.servers import embedded
from tests.support.conversations import archived, asking, buffered, chatwoot_chat, insert, letter, sent
from tests.support.daemons import (
    API_KEY,
    ROOT,
    Running,
    answering,
    digits_of,
    ended,
    environment,
    ferryman,
    free_port,
    running,
    some_orders,
    synced,
)
from tests.support.records_desk import op
from tests.support.records_rig import Site, site
from tests.support.until import until

PAGE: Final = (ROOT / "deploy" / "README.md").read_text(encoding="utf-8")
ELSEWHERE: Final = (
    *("run", "demo", "reload", "send", "messages", "uncertain", "pause", "credentials", "templates"),
    *("labels", "chatwoot", "mappings", "workers forget", "tokens", "records"),
)
"""Commands that run in the background of these tests, in the README's quick start, beside a daemon alone, or with an
order, an account or a worker that a fresh installation does not have."""

PAUSE_S: Final = 0.2
NEW_KEY: Final = "n" * 24
SECRET_KEY: Final = base64.urlsafe_b64encode(b"r" * 32).decode()
BROKEN: Final = {"form": {"client": "nobody"}}


def section(title: str, level: str = "##") -> str:
    """The text below a heading of the page, up to the next one of its level."""
    found = re.search(rf"^{level} {re.escape(title)}\n(.*?)(?=^#{{2,{len(level)}}} |\Z)", PAGE, flags=re.M | re.S)
    assert found is not None, f"deploy/README.md has no section {title}"
    return found[1]


def commands(text: str) -> list[str]:
    """What *text* says to run, without the program's name."""
    verbs = "|".join(VERBS)
    found = re.findall(rf"(?<![\w-])ferryman ((?:{verbs})\b[^`\n]*)", text)
    return [command.split("  #")[0].strip() for command in found]


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@dataclass(frozen=True)
class Row:
    """*run*: what to run. *see*: parts of its output. *do*: what to run then."""

    run: str
    see: tuple[str, ...]
    do: tuple[str, ...]


def rows(title: str) -> list[Row]:
    table = [line for line in section(title, "###").splitlines() if line.startswith("| ")][2:]
    assert table, f"{title} has no table"
    cells = [line.strip("| ").split(" | ") for line in table]
    assert all(len(row) == 4 for row in cells), title
    return [Row(spans(run)[0], tuple(spans(see)), tuple(commands(do))) for run, see, _, do in cells]


def in_it(phrase: str, output: str) -> bool:
    parts = re.split(r"(\bN\b|…)", phrase)
    pattern = "".join({"N": r"\d+(?:\.\d+)?", "…": ".*"}.get(part, re.escape(part)) for part in parts)
    return re.search(pattern, re.sub(r"[^\S\n│]*[│ ][^\S\n│]*", " ", output)) is not None


@dataclass
class Operator:
    """Runs what the page says, with the settings of an installation."""

    cwd: Path
    settings: Mapping[str, Any]
    db: Pool | None = None
    here: Running | None = None
    names: dict[str, str] = field(default_factory=dict)

    def beside(self, here: Running) -> Operator:
        """This operator, on the host of the daemon *here*."""
        port = here.url.rpartition(":")[2]
        return replace(self, here=here, settings=dict(self.settings) | {"FERRYMAN_PORT": port})

    @property
    def told(self) -> str:
        """The last lines of the daemon's log, for the reader of a failure."""
        return "" if self.here is None else "\n".join(["", *self.here.lines[-40:]])

    async def verb(self, command: str) -> tuple[int, str]:
        """Exit code, and all its output."""
        argv = [self.names.get(word, word) for word in shlex.split(command)]
        env = environment(**{"ORDERS_API_KEY": API_KEY, "COLUMNS": 250} | dict(self.settings))
        code, out, err = await ferryman(*argv, cwd=self.cwd, env=env)
        return code, out + err

    async def run(self, command: str) -> tuple[int, str]:
        """As `verb`, of whatever the page may name."""
        program, _, rest = command.partition(" ")
        match program:
            case "ferryman":
                return await self.verb(rest)
            case "psql":
                assert self.db is not None
                records = await self.db.fetch(shlex.split(rest)[0])
                return 0, "\n".join(" ".join(str(value) for value in record.values()) for record in records)
            case "curl":
                assert self.here is not None
                path = rest.removeprefix("-s 127.0.0.1:8080")
                async with self.here.session.get(f"{self.here.url}{path}") as answer:
                    return 0, await answer.text()
        assert command == "journalctl -u ferryman", f"the page says to run {command}"
        assert self.here is not None
        return 0, "\n".join(self.here.lines)


class Section:
    """One section of the runbook, whose rows are followed one after the other."""

    def __init__(self, title: str) -> None:
        self._rows = {row.see[0]: row for row in rows(title)}
        assert len(self._rows) == len(rows(title)), f"{title} says the same twice"

    async def follow(self, phrase: str, operator: Operator, *, code: int = 0, then: int = 0, **names: object) -> None:
        """Run the row that says *phrase*, until it is true; then what it says to do. *code*, *then*: the exit codes."""
        row = self._rows.pop(phrase)
        named = replace(operator, names={name: str(value) for name, value in names.items()})
        last = ""

        async def seen() -> bool:
            nonlocal last
            found, last = await named.run(row.run)
            return found == code and all(in_it(part, last) for part in row.see)

        try:
            await until(seen, phrase, every_s=PAUSE_S)
        except TimeoutError as exc:
            raise AssertionError(f"{row.run} does not show {row.see}, but: {last[-3000:]}{named.told}") from exc
        for command in row.do:
            found, said = await named.verb(command)
            assert found == then, f"{command}: {said}"

    def shown(self, phrase: str, output: str) -> None:
        """The row that says *phrase* is true of *output*; it says nothing to do."""
        row = self._rows.pop(phrase)
        assert not row.do
        assert all(in_it(part, output) for part in row.see), output

    @property
    def left(self) -> list[str]:
        return list(self._rows)


@contextmanager
def following(title: str) -> Iterator[Section]:
    """The section *title*, of which every row has to be followed."""
    page = Section(title)
    yield page
    assert page.left == [], f"rows of {title} that nothing was done with"


@pytest.fixture
def operator(tmp_path: Path, settings: dict[str, Any], db: Pool) -> Operator:
    return Operator(tmp_path, settings, db)


async def letters(db: Pool, count: int) -> list[int]:
    """The numbers of *count* open dead letters, oldest first."""

    async def there() -> list[int]:
        found = await db.fetch("SELECT id FROM dead_letters WHERE state = 'open' ORDER BY id")
        return [row["id"] for row in found] if len(found) == count else []

    return await until(there, f"{count} dead letters")


def id_of(order: Mapping[str, Any]) -> str:
    return str(order["order"]["id"])


def test_every_section_of_the_runbook_is_followed() -> None:
    titles = re.findall(r"^### (.+)$", section("Runbook"), flags=re.M)
    followed = re.findall(r'following\("(.+?)"\)', Path(__file__).read_text(encoding="utf-8"))
    assert sorted(followed) == sorted(titles)


async def test_the_commands_outside_the_runbook_run_in_their_order(
    tmp_path: Path, settings: dict[str, Any], empty_database_url: str, redis: Redis
) -> None:
    text = PAGE.replace(section("Runbook"), "").replace(section("Commands"), "")
    found = [command for command in commands(text) if not command.startswith(ELSEWHERE)]
    verbs = {command.split()[0] for command in found}
    assert verbs == {
        "migrate",
        "doctor",
        "rules",
        "status",
        "audit",
        "workers",
        "reconcile",
        "contacts",
        "conversations",
    }
    fresh = Operator(tmp_path, settings | {"DATABASE_URL": empty_database_url, "FERRYMAN_PORT": free_port()})
    assert (await fresh.verb("doctor"))[0] == 1
    for command in [*(c for c in found if c.startswith("migrate")), *found]:
        code, said = await fresh.verb(command)
        assert code == 0, f"{command}: {said}"


async def test_orders_that_do_not_reach_cgb(operator: Operator, db: Pool) -> None:
    synced_one, waiting, dead, disabled, dry = some_orders(5)
    behind = waiting | {"order": waiting["order"] | {"id": "IL-behind"}}
    no_phone = orders.missing_phone(random.Random(1), 77)
    operator = replace(operator, settings=dict(operator.settings) | {"FERRYMAN_SECRET_KEY": SECRET_KEY})
    with following("Orders do not reach CGB") as page, following("A worker or provider must stand still") as pauses:
        async with running(operator.cwd, **operator.settings) as here:
            at = operator.beside(here)
            await page.follow("no event that is kept has this id, order or key", at, code=1, ORDER="IL-nothing")
            for order in (synced_one, no_phone, orders.missing_phone(random.Random(2), 78), dead | BROKEN):
                assert (await here.post(order))[0] == 202
            await page.follow("contact-sync: done", at, ORDER=id_of(synced_one))
            await page.follow("contact-sync: skipped (no phone)", at, ORDER=id_of(no_phone), PHONE="+972505550199")
            await page.follow("contact-sync: dead letter N after N attempts", at, ORDER=id_of(dead))
            await at.verb("pause contact-sync")
            await until(lambda: heard(here, "operator.paused"), "the pause")
            await here.post(waiting)
            await page.follow("contact-sync: open, …", at, ORDER=id_of(waiting))
            (first,) = (await here.post(waiting))[1]["event_ids"]
            await here.post(behind)
            await page.follow("contact-sync: open, …; behind event …", at, ORDER=id_of(behind), EVENT=first)
            await page.follow("contact-sync paused", at)
            await pauses.follow("cgb is paused", at)
            await page.follow("cgb is paused", at)
            await at.verb("pause cgb")
            await pauses.follow("cgb goes on", at)
            (at.cwd / "second.json").write_text(
                json.dumps({"phone_number_id": "12025550142", "access_token": "t" * 20})
            )
            code, said = await at.verb("credentials set meta --account second --from second.json")
            assert code == 0, said
            await pauses.follow("meta/second is paused", at)
            await synced(db, 3)
            await page.follow("N synced", at)
            await page.follow("N orders have failed: …", at)
            assert await here.stop() == 0
        await page.follow("no daemon runs", operator)
        without = {name: value for name, value in operator.settings.items() if name != "CGB_API_KEY"}
        await page.follow("contact-sync off: CGB_API_KEY is not set", replace(operator, settings=without))
        async with running(operator.cwd, **operator.settings, CGB_SYNC_ENABLED="false") as here:
            await here.post(disabled)
            await page.follow("contact-sync: skipped (sync disabled)", operator, ORDER=id_of(disabled))
        async with running(operator.cwd, **operator.settings, CGB_SYNC_DRY_RUN="true") as here:
            await here.post(dry)
            await page.follow("contact-sync: skipped (dry run)", operator, ORDER=id_of(dry))


async def heard(here: Running, event: str) -> bool:
    return any(f'"{event}"' in line for line in here.lines)


def order_of(applicant: str, n: int, **overrides: Any) -> dict[str, Any]:
    made = {"branch": "il", "alerts": True, "quantity": 1} | overrides
    order = orders.make_order(random.Random(n), n, order_id=f"IL-{applicant}", **made)
    order["form"]["applicants"][0]["id"] = applicant
    return order


APP_SECRET: Final = "meta-app-secret-0123456789"
TEMPLATE_TO: Final = "send template {} ready --language en --yes"


def sending(operator: Operator, meta: MetaSandbox) -> dict[str, Any]:
    """The settings of *operator*, who sends by *meta*."""
    return dict(operator.settings) | {
        "META_GRAPH_URL": meta.url,
        "META_PHONE_NUMBER_ID": meta.number_id,
        "META_ACCESS_TOKEN": meta.token,
        "META_APP_SECRET": APP_SECRET,
        "MESSAGES_DEFAULT_PROVIDER": "meta",
        "FERRYMAN_ADMIN_TOKEN": "runbook-admin-token-0123456789",
    }


async def asked_for(at: Operator, db: Pool, command: str) -> str:
    """The id of the message that *command* asks for."""
    code, said = await at.verb(command)
    assert code == 0, said
    id: object = await db.fetchval("SELECT id FROM messages WHERE direction = 'out' ORDER BY created_at DESC LIMIT 1")
    return str(id)


async def test_messages_that_do_not_go_out(operator: Operator, db: Pool) -> None:
    wrote, silent, stopped, gone, late = (f"+97250555{n:04d}" for n in range(5))
    with following("Messages do not go out") as page:
        async with (
            MetaSandbox(app_secret=APP_SECRET) as meta,
            running(operator.cwd, **sending(operator, meta)) as here,
        ):
            meta.callback_url = here.url
            at = operator.beside(here)
            at = replace(at, settings=sending(at, meta))
            await page.follow("sender twilio: off, without TWILIO_ACCOUNT_SID", at)
            id = await asked_for(at, db, TEMPLATE_TO.format(wrote) + " --at 2h")
            await page.follow("waits it goes out at …", at, MESSAGE=id)
            await at.verb("pause meta")
            id = await asked_for(at, db, TEMPLATE_TO.format(wrote))
            await page.follow("waits meta is paused by an operator", at, MESSAGE=id)
            id = await asked_for(at, db, f"send text {silent} hello --yes")
            await page.follow("error outside the customer-service window", at, MESSAGE=id)
            await meta.write(stopped[1:], "STOP")
            await until(lambda: db.fetchval("SELECT count(*) FROM opt_outs"), "the opt-out")
            id = await asked_for(at, db, TEMPLATE_TO.format(stopped))
            await page.follow("error opted out", at, MESSAGE=id)
            meta.switches.fates = {gone[1:]: [131026], late[1:]: []}
            id = await asked_for(at, db, TEMPLATE_TO.format(gone))
            await page.follow("error_code 131026", at, MESSAGE=id)
            meta.faults.add("cut", times=1, contact=late[1:])
            id = await asked_for(at, db, TEMPLATE_TO.format(late))
            await page.follow("1 message by meta may have been sent, and nobody knows", at)
            await page.follow("1 uncertain", at, MESSAGE=id)
            meta.switches.refused = {wrote[1:]: 132015}
            id = await asked_for(at, db, TEMPLATE_TO.format(wrote))
            await page.follow("waits Meta: the template is paused, …", at, MESSAGE=id)
            await page.follow('"event":"template.stopped"', at)
            meta.token = "another"
            id = await asked_for(at, db, f"send template {silent} other --language en --yes")
            await page.follow("waits meta refuses our account or key (meta-190)", at, MESSAGE=id)


async def test_a_message_that_did_not_come(operator: Operator, cgb: CgbSandbox, db: Pool) -> None:
    """The customer has a synced order, one that CGB has refused, and one that waits."""
    phone = "+972505550142"
    person = {"branch": "il", "phone": phone, "country": "uk", "alerts": False}
    first, second, third = (orders.make_order(random.Random(n), n, order_id=f"IL-{n}", **person) for n in range(3))
    landline = orders.landline(random.Random(4), 4)
    with following("A customer says that no message came") as page:
        async with (
            MetaSandbox(app_secret=APP_SECRET) as meta,
            running(operator.cwd, **sending(operator, meta), CGB_WEBHOOK_SECRET=FLOW_SECRET) as here,
        ):
            at, meta.callback_url = operator.beside(here), here.url
            at = replace(at, settings=sending(at, meta))
            await page.follow("no contact is found by this", at, code=1, PHONE=phone)
            for order in (first, landline):
                assert (await here.post(order))[0] == 202
            await synced(db, 1)
            contact = await db.fetchval("SELECT cbb_contact_uuid FROM orders WHERE order_id = $1", id_of(first))
            known = {"PHONE": phone, "CONTACT": contact, "ORDER": id_of(first)}
            await page.follow("there is no such message", at, **known)
            await asked_for(at, db, TEMPLATE_TO.format("+46701740605"))
            await page.follow("template delivered", at, PHONE="+46701740605")
            await page.follow("contact name phones newest order", at, **known)
            await page.follow("identity phone:… CGB has N", at, **known)
            await page.follow("whatsapp_alerts_enabled False", at, **known)
            await page.follow("+N not known", at, then=1, **known)  # there is no checker here
            await page.follow("+N no …", at, PHONE=landline_of(landline))
            flows = CgbFlows(here.session, here.url, secret=FLOW_SECRET)
            assert (await flows.reply(phone[1:])).status == 202
            await page.follow("+N yes …", at, **known)
            await page.follow("message.received", at, **known)
            told = {"fields": {"visa_country": "mars"}, "sent_at": datetime.now(UTC).timestamp()}
            assert (await flows.contact(phone[1:], **told)).status == 202
            await page.follow("contact field told (UTC) owner", at, **known)
            await page.follow("conflict owner orders …", at, **known)
            cgb.faults.add("error", method="POST", contact=phone[1:], message="blocked by the account")
            assert (await here.post(second))[0] == 202
            (number,) = await letters(db, 1)
            cgb.faults.clear()
            refused = known | {"ORDER": id_of(second)}
            await page.follow("order … failed …", at, **refused)
            await page.follow("dead letter N contact-sync open", at, NUMBER=number, **refused)
            await at.verb("pause contact-sync")
            await until(lambda: heard(here, "operator.paused"), "the pause")
            assert (await here.post(third))[0] == 202
            await page.follow("open … order.received …", at, **known)
            await page.follow("client_phone +N", at, **known | {"PHONE": "+972505550143"})


def landline_of(order: Mapping[str, Any]) -> str:
    return f"+{digits_of(order)}"


async def test_a_conversation_that_stands_still(operator: Operator, db: Pool) -> None:
    now, phone = datetime.now(UTC), "+972505550142"
    question, note = (
        await sent(db, "which?", minutes=1, status="skipped", error="outside the window"),
        "gs://bucket/a.json",
    )
    with following("A conversation stands still") as page:
        show = "CONVERSATION"
        await page.follow("no conversation is found by this", operator, code=1, **{show: 99})
        await chatwoot_chat(db, 1, escalated_at=now, escalated_why="the person asks for somebody")
        await page.follow("newest (UTC) conversation phone name status question handed over", operator, **{show: 1})
        await page.follow("waits a person has to answer, since …", operator, **{show: 1})
        await chatwoot_chat(db, 2, context_json={"pausedUntil": (now + timedelta(minutes=9)).isoformat()})
        await page.follow("waits the bot is silent until …", operator, **{show: 2})
        await chatwoot_chat(db, 3, context_json=asking("tone", question))
        await page.follow("waits the answer about … is waited for …", operator, **{show: 3})
        await page.follow("waits the question about … was not sent …", operator, **{show: 3})
        await sent(db, "which?", minutes=2, status="queued", sent_at=None)
        await page.follow("waits the message … waits for chatwoot: …", operator, **{show: 3})
        await sent(db, "which?", minutes=2, status="uncertain", sent_at=None)
        await page.follow("waits the message … may have been sent, and nobody knows", operator, **{show: 3})
        await chatwoot_chat(db, 4, settles_at=now + timedelta(minutes=9))
        await buffered(db, 40, 4)
        await page.follow("waits N message waits until …", operator, **{show: 4})
        await chatwoot_chat(db, 5)
        await buffered(db, 50, 5)
        await page.follow("waits N message waits to be understood: …", operator, **{show: 5})
        await buffered(db, 51, 5, kind="voice", waits_for_text=True)
        await page.follow("waits the voice message of … waits for its transcription", operator, **{show: 5})
        kept = await archived(db, 60, 6, "hello", gcs_storage_path=note)
        for place, status in enumerate(("pending", "error")):
            told = {"meeting_note_id": kept, "place": place, "kind": "image", "status": status, "error": "too large"}
            await insert(db, "note_attachments", id=uuid4(), **told)
        await chatwoot_chat(db, 6)
        await page.follow("waits the image of … waits to be stored", operator, **{show: 6})
        await page.follow("file image error …", operator, **{show: 6})
        await db.execute("INSERT INTO archive_objects VALUES ('bucket', 'a.json', 'application/json', 'x')")
        await page.follow("waits the archive of the message of … waits here …", operator, **{show: 6})
        number = await letter(db, "event-60", {"conversation": {"account": "3", "id": "6"}})
        given = {show: 6, "NUMBER": number}
        await page.follow("waits … has given up on message.received …", operator, **given)
        async with running(operator.cwd, **operator.settings, CGB_WEBHOOK_SECRET=FLOW_SECRET) as here:
            at = operator.beside(here)
            await at.verb("pause outbound-messaging")
            await until(lambda: heard(here, "operator.paused"), "the pause")
            assert (await CgbFlows(here.session, here.url, secret=FLOW_SECRET).reply(phone[1:])).status == 202
            await page.follow("waits … has not ended with message.received …", at, **{show: 6})


async def test_reports_that_come_to_nothing(operator: Operator, db: Pool) -> None:
    late, branch = order_of("late", 1), order_of("branch", 2, branch="se")
    consent, phone = order_of("consent", 3, alerts=False), order_of("phone", 4, phone=None)
    settings = dict(operator.settings) | {"FERRYMAN_MESSAGE_BRANCHES": "il", "FERRYMAN_ISSUE_WAIT_SECONDS": 0}
    with following("A report about an applicant comes to nothing") as page:
        async with running(operator.cwd, **operator.settings) as here:
            early = Vizi(here.session, here.url, secret=SIGNING, api_key=API_KEY)
            assert (await early.report(make_report("early"), "key")).status == 202
            waits = "applicant-issues: open, waits for its order"
            await page.follow(waits, operator.beside(here), EVENT="early")
        async with running(operator.cwd, **settings) as here:
            at = operator.beside(here)
            vizi = Vizi(here.session, here.url, secret=SIGNING, api_key=API_KEY)
            sent = {"late": (await vizi.report(make_report("late"), "key")).event_ids[0]}
            await page.follow("skipped unknown applicant N", at)
            for order in (late, branch, consent, phone):
                assert (await here.post(order))[0] == 202
            await ended(db, 4)
            for applicant in ("branch", "consent", "phone"):
                (sent[applicant],) = (await vizi.report(make_report(applicant), "key")).event_ids
            await page.follow("skipped (no consent)", at, ORDER=id_of(consent))
            corrected, without = "+972505550199", sent["phone"]
            await page.follow("skipped (no phone)", at, ORDER=id_of(phone), PHONE=corrected, EVENT=without)
            await page.follow("skipped (other branch)", at, ORDER=id_of(branch), EVENT=sent["branch"])
            await page.follow("skipped (unknown applicant)", at, ORDER=id_of(late), EVENT=sent["late"])
            assert (await vizi.report({"applicantId": "late", "issues": 5}, "key")).status == 202
            await page.follow("N applicant-issues Malformed", at)

            async def reported() -> bool:
                found = await db.fetch("SELECT applicant_id FROM applicant_issues WHERE status = 'reported'")
                return {row["applicant_id"] for row in found} == {"late", "phone"}

            await until(reported, "the reports whose orders came late, or were corrected")


async def test_chatwoot_is_connected(operator: Operator, db: Pool) -> None:
    with following("Connect Chatwoot") as page:
        async with ChatwootSandbox() as chatwoot, running(operator.cwd, **connected(operator, chatwoot)) as here:
            at = replace(operator, settings=connected(operator, chatwoot) | {"FERRYMAN_PUBLIC_URL": here.url}).beside(
                here
            )
            await page.follow("error account: the token's owner is in the account as agent", at, code=1)
            chatwoot.switches.role = "administrator"
            await page.follow("source chatwoot is not served: set CHATWOOT_WEBHOOK_SECRET", at)
            await until(lambda: heard(here, "source.served"), "the source")
            await page.follow("ok webhook: … is told of N events", at)
            (webhook,) = chatwoot.hooks.rows
            webhook.secret = "another" * 4
            chatwoot.receive("+972505550142", "hello")
            await page.follow("chatwoot 401 signature N", at)
            chatwoot.hooks.subscribe(f"{here.url}/webhooks/chatwoot/")
            await page.follow("warn webhook: … is the same place, so every event comes twice", at)

            async def taken() -> bool:
                chatwoot.receive("+972505550142", "hello again")
                await chatwoot.hooks.settled()
                return chatwoot.hooks.deliveries[-1].status == 202

            await until(taken, "a message with the new secret", every_s=0.2)
            await page.follow("message.received chatwoot", at)


def connected(operator: Operator, chatwoot: ChatwootSandbox) -> dict[str, Any]:
    """The settings of *operator*, for whom *chatwoot* is Chatwoot."""
    return dict(operator.settings) | {
        "CHATWOOT_BASE_URL": chatwoot.url,
        "CHATWOOT_API_ACCESS_TOKEN": chatwoot.token,
        "CHATWOOT_ACCOUNT_ID": ACCOUNT_ID,
        "CHATWOOT_WHATSAPP_INBOX_ID": INBOX_ID,
        "FERRYMAN_SECRET_KEY": SECRET_KEY,
    }


async def test_a_bot_flow_that_is_to_tell_something(operator: Operator, db: Pool) -> None:
    settings = dict(operator.settings) | {"CGB_WEBHOOK_SECRET": FLOW_SECRET}
    title = "A bot flow of CGB is to tell us something"
    with following("A bot flow of CGB is to tell us something") as page:
        await page.follow("source cgb is not served: set CGB_WEBHOOK_SECRET", operator)
        async with running(operator.cwd, **settings) as here:
            at = replace(operator, settings=settings).beside(here)
            for command in commands(section(title, "###").split("| run |")[0]):
                code, said = await at.verb(command)
                assert code == 0, said
            for secret, why in ((None, "missing"), ("wrong", "key")):
                assert (await CgbFlows(here.session, here.url, secret=secret).reply("972505550142")).status == 401
                await page.follow(f"cgb 401 {why} N", at)
            flows = CgbFlows(here.session, here.url, secret=FLOW_SECRET)
            for body in blocks(title):
                assert (await flows.post(body)).status == 400  # the placeholder of the contact is not filled in
                filled = body | {"contact_id": "972505550142"}
                taken = await flows.post(filled)
                assert taken.status == 202
                if body["event"] == "contact":
                    (empty,) = taken.event_ids
                    await page.follow("contact-changes: skipped (tells nothing)", at, EVENT=empty)
            told = [await flows.contact("972505550143", name="Noa", sent_at=at_s) for at_s in (1928826900, 1928826901)]
            (known,) = told[1].event_ids
            await page.follow("contact-changes: skipped (known already)", at, EVENT=known)
            await page.follow("cgb 400 no_identity N", at)
            headers = {"X-Webhook-Secret": FLOW_SECRET}
            async with here.session.post(
                f"{here.url}/webhooks/cgb", data=b'{"v": 1, "text": """}', headers=headers
            ) as no:
                assert no.status == 400
            await page.follow("cgb 400 not_json N", at)
            await page.follow("message.received cgb", at)
            assert (await flows.reply("972505550142", v=2)).status == 202
            letter = "SELECT id FROM dead_letters WHERE worker = 'whatsapp-validation'"
            number = await until(lambda: db.fetchval(letter), "the dead letter of the reply")
            await page.follow("N whatsapp-validation Malformed", at, NUMBER=number)
            assert (await flows.contact("972505550142", v=2)).status == 202
            await page.follow("N contact-changes Malformed", at)


def blocks(title: str) -> list[dict[str, Any]]:
    """The bodies that the section has for pasting."""
    found = re.findall(r"^ *```text\n(.*?)^ *```", section(title, "###"), flags=re.M | re.S)
    assert len(found) == 2
    return [json.loads(body) for body in found]


async def test_cgb_away(operator: Operator, cgb: CgbSandbox, db: Pool) -> None:
    sent = some_orders(14)
    with following("CGB is away or refuses us") as page:
        async with running(operator.cwd, **operator.settings) as here:
            at = operator.beside(here)
            cgb.faults.add("limited", times=1, retry_after="1")
            await here.post(sent[0])
            await page.follow('"event":"limits.paused"', at)
            await ended(db, 1)
            cgb.faults.add("html", status=502)
            for order in sent[1:10]:
                await here.post(order)
            await page.follow('"event":"provider.paused"', at)
            await page.follow("contact-sync running N 0 N N 0", at)
            await page.follow("cgb does not answer as it should (http-502) since …", at)
            cgb.faults.clear()
            await page.follow('"event":"provider.back"', at)
            await ended(db, 10)
            cgb.faults.add("limited", times=1, retry_after="3600")
            await here.post(sent[11])
            await page.follow("cgb has asked us to wait: N s more", at)
            await ended(db, 11)
            cgb.faults.add("bad_token")
            await here.post(sent[10])
            await page.follow('"event":"provider.down"', at)
            await page.follow("cgb refuses our account or key (http-…)", at, code=1)
    assert await db.fetchval("SELECT count(*) FROM dead_letters") == 0


async def test_a_growing_lag(operator: Operator, cgb: CgbSandbox, redis: Redis) -> None:
    three_hours_ago = int((datetime.now(UTC) - timedelta(hours=3)).timestamp() * 1000)
    await redis.xadd(stream_key("orders", 0), {"odd": "entry"}, id=f"{three_hours_ago}-0")
    await operator.verb("pause contact-sync")
    with following("The lag grows") as page:
        async with running(operator.cwd, **operator.settings) as here:
            at = operator.beside(here)
            await page.follow("the oldest open event of contact-sync has waited for N h", at)
            cgb.faults.add("hang")
            await at.verb("resume contact-sync")
            for order in some_orders(8):
                await here.post(order)
            await page.follow("contact-sync running N 0 N", at)
            await page.follow("ferryman_loop_lag_seconds N", at)


async def test_dead_letters(operator: Operator, cgb: CgbSandbox, db: Pool) -> None:
    malformed, rejected, *others = some_orders(5)
    corrected = operator.cwd / "order.json"
    corrected.write_text(json.dumps(malformed))
    with following("Dead letters") as page:
        async with running(operator.cwd, **operator.settings) as here:
            at = operator.beside(here)
            for count, order in enumerate((malformed, *others), start=1):
                await here.post(order | BROKEN)
                await ended(db, count)
            number, *odd = await letters(db, 4)
            for letter, name in zip(odd, ("Uncertain", "Unexpected", "Poison"), strict=True):
                await db.execute("UPDATE dead_letters SET error_class = $1 WHERE id = $2", name, letter)
            await page.follow("N contact-sync Malformed", at, NUMBER=number, FILE=corrected)
            await page.follow("N contact-sync Uncertain", at)
            await page.follow("N contact-sync Unexpected", at)
            await page.follow("N contact-sync Poison", at, NUMBER=odd[-1])
            cgb.faults.add(
                "error", method="POST", contact=digits_of(rejected), message="blocked by the account", times=1
            )
            await here.post(rejected)
            await page.follow("N contact-sync Rejection", at)
            await synced(db, 2)
            await page.follow("contact-sync N N N N N N", at)


async def test_every_path_is_served_and_secrets_are_changed_without_a_gap(operator: Operator) -> None:
    first, second = some_orders(2)
    paths = re.findall(r"`(GET|POST) (/[\w/-]+)`", section("HTTP"))
    with following("Secrets are changed") as page:
        by_file = replace(operator, settings=dict(operator.settings) | {"ORDERS_API_KEY": ""})
        await page.follow("no daemon runs on …", by_file, code=1)
        file = operator.cwd / ".env"
        file.write_text(f"ORDERS_API_KEY={API_KEY}\n")
        async with running(by_file.cwd, **by_file.settings) as here:
            assert (await here.post(first))[0] == 202
            file.write_text(f"ORDERS_API_KEY={NEW_KEY},{API_KEY}\n")
            await page.follow("ORDERS_API_KEY ***,*** .env", by_file)
            await page.follow("process N: took ORDERS_API_KEY", by_file)
            assert (await here.post(second, **{"X-API-Key": NEW_KEY}))[0] == 202
            await page.follow("0", by_file)
            file.write_text(f"ORDERS_API_KEY={NEW_KEY}\nFERRYMAN_LOG_LEVEL=debug\nCGB_API_KEY=another\n")
            await page.follow("the environment overrules the file: CGB_API_KEY", by_file)
            await page.follow("at the next start: FERRYMAN_LOG_LEVEL", by_file)
            posts = {path for method, path in paths if method == "POST"}
            assert posts == {source.path for source in SOURCES} | POSTED
            bearer = {"Authorization": f"Bearer {operator.settings['FERRYMAN_ADMIN_TOKEN']}"}
            for path in (path for method, path in paths if method == "GET"):
                async with here.session.get(here.url + path, headers=bearer) as answer:
                    assert answer.status == 200, path


POSTED: Final = {
    "/api/token",
    "/api/send-message",
    *(
        f"/api/v1/{name}"
        for name in ("messages", "templates/sync", "campaigns", "credentials", "tokens", "user-mappings")
    ),
    "/api/v1/conversations/labels",
}
FLOW_SECRET: Final = "whisper-of-the-runbook-0d41"
REFUSALS: Final = (
    "orders 401 missing", "orders 401 key", "orders 401 signature", "orders 401 clock", "orders 400 not_json",
    "orders 400 no_identity", "orders 413 too_large", "other 404 path",
)  # fmt: skip
SIGNING: Final = "whsec_" + base64.b64encode(b"an invented secret of the runbook").decode()


def signed_an_hour_ago(body: str) -> dict[str, str]:
    at = datetime.now(UTC) - timedelta(hours=1)
    signature = standardwebhooks.Webhook(SIGNING).sign("msg_1", at, body)
    return {
        "Webhook-Id": "msg_1",
        "Webhook-Timestamp": str(int(at.timestamp())),
        "Webhook-Signature": signature,
    }


async def test_refused_webhooks(operator: Operator, db: Pool, tmp_path: Path) -> None:
    (order,) = some_orders(1)
    mended = tmp_path / "mended.json"
    mended.write_text(json.dumps(order))
    with following("Webhooks are refused") as page:
        extra: dict[str, Any] = {"FERRYMAN_MAX_BODY_BYTES": 20_000, "ORDERS_WEBHOOK_SECRET": SIGNING}
        async with running(operator.cwd, **operator.settings, **extra) as here:
            at = operator.beside(here)
            path = f"{here.url}/webhooks/orders"
            old = signed_an_hour_ago(json.dumps(order))
            for proof in ({"X-API-Key": NEW_KEY}, {"X-Nothing": "1"}, old, old | {"Webhook-Id": "2"}):
                assert (await here.post(order, **proof))[0] == 401
            async with here.session.post(f"{here.url}/orders", data=b"{}") as answer:
                assert answer.status == 404
            for body, status in ((b"[1", 400), (b"{}", 400), (b" " * 30_000, 413)):
                async with here.session.post(path, data=body, headers={"X-API-Key": API_KEY}) as answer:
                    assert answer.status == status
            for phrase in REFUSALS:
                await page.follow(f"{phrase} N", at)
            number = await db.fetchval("SELECT id FROM refused_requests WHERE reason = 'not_json'")
            await page.follow("orders 400 not_json", at, NUMBER=number, FILE=mended)
            await ended(db, 1)  # it was taken in
            await page.follow('ferryman_refused_total{reason="key",source="orders"} N', at)
            await page.follow('ferryman_connections_refused_total{reason="share"} N', at)
            await page.follow('"ready":true', at)
        async with running(operator.cwd, **operator.settings, ORDERS_API_KEY="") as here:
            phrase = "source orders is not served: set ORDERS_API_KEY or ORDERS_WEBHOOK_SECRET"
            await page.follow(phrase, operator.beside(here))


async def test_stores_that_are_away(memory_path: Path, tmp_path: Path, cgb: CgbSandbox) -> None:
    first, second, third = some_orders(3)
    async with embedded(memory_path / "data", fsync=False) as servers:
        valkey, postgres = servers.valkey, servers.postgres
        assert valkey is not None
        assert postgres is not None
        settings: dict[str, Any] = {"REDIS_URL": servers.redis_url, "DATABASE_URL": servers.database_url}
        settings |= {"FERRYMAN_ADMIN_TOKEN": "e2e-admin-token-0123456789", "CGB_API_URL": cgb.url, "CGB_API_KEY": TOKEN}
        operator = Operator(tmp_path, settings)
        assert (await operator.verb("migrate"))[0] == 0
        with following("Redis is away") as redis_page, following("Postgres is away") as postgres_page:
            async with running(tmp_path, **settings) as here:
                at = operator.beside(here)
                assert (await here.post(first))[0] == 202
                await valkey.stop()
                assert (await here.post(second))[0] == 202
                await redis_page.follow('"accepting":"spool"', at)
                await redis_page.follow("Redis at … cannot be used", at, code=1)
                await redis_page.follow('"event":"intake.spools"', at)
                await valkey.start()
                await redis_page.follow('"event":"intake.spool_drained"', at)
                await until(lambda: made(cgb, 2), "two contacts")  # then nothing is left in the spool
                await postgres.stop()
                await postgres_page.follow('"accepting":"redis"', at)
                assert (await here.post(third))[0] == 202
                await postgres_page.follow("Postgres at … cannot be used", at, code=1)
                await valkey.stop()
                await postgres_page.follow('"accepting":"no"', at)
                await postgres.start()
                await valkey.start()
                await postgres_page.follow('"event":"store.up"', at)
                await until(lambda: made(cgb, 3), "three contacts")
                assert await here.stop() == 0
            await postgres.stop()
            await postgres_page.follow("nothing tells which processes run", operator, code=1)
            await postgres.start()


async def made(cgb: CgbSandbox, count: int) -> bool:
    return len(cgb.ledger.contacts_made()) == count


def test_a_full_disk() -> None:
    server = RedisServer(
        name="Valkey",
        version="9.1.0",
        durability="always",
        appendonly=True,
        appendfsync="always",
        policy="noeviction",
        used_memory=97,
        max_memory=100,
        failing=("aof_last_write_status",),
        role="master",
        replicas=0,
        skew_s=0.0,
    )
    inspection = Inspection(version="1", settings=Settings(), now=datetime.now(UTC), nodes=(server,), disk=(97, 100))
    said = "\n".join(str(finding) for finding in examine(inspection))
    with following("A disk is full") as page:
        for phrase in page.left:
            page.shown(phrase, said)


async def test_lost_data_of_redis(operator: Operator, db: Pool, redis: Redis) -> None:
    sent = some_orders(6)
    with following("Redis has lost data") as page:
        async with running(operator.cwd, **operator.settings) as here:
            at = operator.beside(here)
            for order in sent[:3]:
                await here.post(order)
            await redis.flushall()
            for order in sent[3:]:
                assert (await here.post(order))[0] == 202
            await page.follow('"event":"redis.lost_data"', at)
            await synced(db, 6)
            await page.follow("contact-sync N N N N N 0", at)
            await page.follow("N events are missing somewhere", at)
            assert await here.stop() == 0
        await redis.flushall()
        await page.follow("Redis has lost data since it was last used: the next start mends that", operator)


async def test_a_partition_without_an_owner(operator: Operator) -> None:
    with following("A partition has no owner") as page:
        async with running(operator.cwd, **operator.settings, FERRYMAN_WORKERS="journal") as here:
            at = operator.beside(here)
            for phrase in page.left:
                await page.follow(phrase, at)


async def test_a_killed_process(operator: Operator, db: Pool) -> None:
    with following("A process was killed") as page:
        settings = operator.settings
        async with running(operator.cwd, **settings) as first, running(operator.cwd, **settings) as second:
            at = operator.beside(second)
            for order in some_orders(4):
                await first.post(order)
            await first.stop(signal.SIGKILL)
            await page.follow("process …; contact-sync 0-15", at)
            await page.follow('"event":"lease.taken"', at)
            await synced(db, 4)
            await page.follow("contact-sync N N N N N 0", at)


async def test_another_number_of_partitions(operator: Operator, db: Pool) -> None:
    with following("The number of partitions is changed") as page:
        async with running(operator.cwd, **operator.settings) as here:
            await here.post(some_orders(1)[0])
            await ended(db, 1)
            phrase = "the partitions stay as they are: … stop every process"
            await page.follow(phrase, operator.beside(here), code=1)
            assert await here.stop() == 0
        await page.follow("would change the partitions from 16 to 32", operator)
        await page.follow("partitions 32, processes 0", operator)
        async with running(operator.cwd, **operator.settings) as here:

            async def owned() -> bool:
                return len((await here.ready())["leases"]["contact-sync"]) == 32

            await until(owned, "an owner of 32 partitions")


async def test_events_that_are_run_again(operator: Operator, cgb: CgbSandbox, db: Pool) -> None:
    day = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    with following("Events are to be run again") as page:
        async with running(operator.cwd, **operator.settings) as here:
            at = operator.beside(here)
            answers = [await here.post(order) for order in some_orders(3)]
            await synced(db, 3)
            writes = len(cgb.ledger.writes())
            await page.follow("N events of the journal for contact-sync", at, DAY=day)
            await page.follow("1 events of the journal for contact-sync", at, EVENT=answers[0][1]["event_ids"][0])

            async def replayed() -> bool:
                return bool(await db.fetchval("SELECT count(*) = 4 FROM inbox WHERE replay_id <> ''"))

            await until(replayed, "four replayed events")
            await page.follow("the contact would be …, and show the order …", at, ORDER=id_of(some_orders(3)[0]))
            await page.follow("N orders to sync again, N at a time", at)
            await page.follow("N orders to sync again, … at a time", at, DAY="2021-01-01")
            await page.follow("N orders would be synced again", at)
            assert len(cgb.ledger.writes()) == writes


async def test_a_refused_start(operator: Operator, redis: Redis, empty_database_url: str) -> None:
    with following("A start is refused") as page:

        def with_(**changed: object) -> Operator:
            return replace(operator, settings=dict(operator.settings) | {"FERRYMAN_PORT": free_port()} | changed)

        wrong = with_(FERRYMAN_PROT=1, CGB_TIMEOUT="soon")
        await page.follow("N problems in the settings", wrong, code=2)
        await page.follow("N problem in the rules", with_(FERRYMAN_RULES_DIR=operator.cwd / "nowhere"), code=2, then=1)
        await page.follow("the database lacks N migrations", with_(DATABASE_URL=empty_database_url), code=1)
        async with running(operator.cwd, **operator.settings) as here:
            await page.follow("cannot listen on …", operator.beside(here), code=1)
        phrase = "this database was set up with 16 partitions and FERRYMAN_PARTITIONS says 8"
        await page.follow(phrase, with_(FERRYMAN_PARTITIONS=8), code=1)
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        try:
            phrase = "Redis has maxmemory-policy allkeys-lru and would drop accepted events"
            await page.follow(phrase, with_(), code=1)
        finally:
            await redis.config_set("maxmemory-policy", "noeviction")
        no_file = with_(FERRYMAN_ENV_FILE=operator.cwd / "nowhere")
        await page.follow("FERRYMAN_ENV_FILE names a file that is not there", no_file, code=2)
        url = str(operator.settings["REDIS_URL"])
        stranger = with_(REDIS_URL=f"{url}{'&' if '?' in url else '?'}username=nobody&password=wrong")
        await page.follow("cannot use Redis at … check REDIS_URL", stranger, code=1, then=1)
        nowhere = dict(operator.settings) | {"REDIS_URL": f"redis://127.0.0.1:{free_port()}/0"}
        async with answering(operator.cwd, **nowhere) as here:
            waiting = replace(operator, settings=nowhere).beside(here)
            await page.follow('"event":"store.awaited"', waiting, then=1)


RULES: Final = (ROOT / "daemon/rules/shipped/models.toml").read_text(encoding="utf-8")


async def person(at: Operator, name: str) -> dict[str, str]:
    """The header of a token that is made for a person at an edge."""
    code, said = await at.verb(f"tokens create --user {name} --json")
    assert code == 0, said
    return {"Authorization": f"Bearer {json.loads(said)['token']}"}


async def pushed(here: Running, proof: Mapping[str, str], replica: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    """What a daemon answers to an operation of a replica, which is named anew for it."""
    asked = {"replica": f"{replica}-{uuid4()}", "operations": [operation]}
    async with here.session.post(f"{here.url}/api/v1/sync/push", json=asked, headers=proof) as answer:
        assert answer.status == 200, await answer.text()
        result: dict[str, Any] = (await answer.json())["results"][0]
        return result


async def settled(at: Operator) -> None:
    """Nothing of the edge waits for its upstream."""

    async def empty() -> bool:
        return "pending 0" in " ".join((await at.verb("records stats"))[1].split())

    try:
        await until(empty, "an empty queue", every_s=PAUSE_S)
    except TimeoutError as exc:
        raise AssertionError(f"{(await at.verb('records stats'))[1]}{(await at.verb('records queue'))[1]}") from exc


def edge_of(operator: Operator, hub: Site, token: str, **more: object) -> Operator:
    settings = {"SYNC_UPSTREAM_URL": hub.url, "SYNC_UPSTREAM_TOKEN": token, "FERRYMAN_WORKERS": "journal,record-sync"}
    return replace(operator, settings=dict(operator.settings) | settings | more)


async def test_an_edge_that_is_set_up_and_cut_off(operator: Operator, tmp_path: Path, postgres_url: str) -> None:
    async with site(tmp_path, "hub", postgres_url, models=RULES) as hub:
        edge = edge_of(operator, hub, await hub.token("--edge", "north", "--owners", "ann"))
        with following("Set up an edge") as page:
            await page.follow("last sync never", edge)
            await page.follow("N synced, N conflicts, N failed, N pending, N pulled", edge)
            async with running(edge.cwd, **edge.settings) as here:
                await page.follow("online yes", edge.beside(here))
        ann, bob = await person(edge, "ann"), await person(edge, "bob")
        with following("An edge does not sync") as page:
            async with running(edge.cwd, **edge.settings) as here:
                at = edge.beside(here)
                await hub.kill()
                await pushed(here, ann, "phone", op("CREATE", "l1", name="Somebody"))
                await page.follow("pending N, the oldest for N s", at)
                await page.follow("last error the upstream cannot be reached…", at)
                await page.follow("records.upstream_away", at)
                await hub.start()
                await settled(at)
                await pushed(here, bob, "tablet", op("CREATE", "l2", name="Other"))
                await page.follow("failed N …", at)
                await hub.verb("tokens", "revoke", "1", "--yes")
                await pushed(here, ann, "phone", op("UPDATE", "l1", 1, stage="won"))
                await page.follow("last error the upstream refuses SYNC_UPSTREAM_TOKEN…", at)


async def test_conflicts_that_wait(operator: Operator, db: Pool, tmp_path: Path, postgres_url: str) -> None:
    async with site(tmp_path, "hub", postgres_url, models=RULES) as hub:
        token = await hub.token("--edge", "north", "--owners", "ann")
        edge = edge_of(operator, hub, token, AUTO_SYNC_ENABLED="false")
        ann = await person(edge, "ann")

        async def meet(here: Running, id: str) -> int:
            await pushed(here, ann, "phone", op("CREATE", id, name="Somebody", amount="1"))
            await pushed(here, ann, "laptop", op("UPDATE", id, 1, amount="2"))
            number: int = (await pushed(here, ann, "phone", op("UPDATE", id, 1, amount="3")))["conflict_id"]
            return number

        with following("Conflicts wait") as page:
            async with running(edge.cwd, **edge.settings) as here:
                at = edge.beside(here)
                first, second = await meet(here, "l1"), await meet(here, "l2")
                await page.follow("N Lead … open", at, NUMBER=first)
                await page.follow("resolved: Lead … is at version N", at, NUMBER=first)
                await page.follow("conflict N is decided already: …", at, code=1, NUMBER=first)
                await pushed(here, ann, "laptop", op("UPDATE", "l2", 2, amount="5"))
                await page.follow("changed since: …", at, NUMBER=second)
                await at.verb("records sync")
                (there,) = await hub.push(op("UPDATE", "l1", 3, amount="7"))
                assert there["result"] == "applied", there
                met = await pushed(here, ann, "laptop", op("UPDATE", "l1", 3, amount="8"))
                assert met["result"] == "applied", met
                code, said = await at.verb("records sync")
                assert (code, "1 conflicts" in said) == (0, True), said + (await at.verb("records show Lead l1"))[1]
                phrase = "N operations of this edge wait for a decision at the upstream …"
                await page.follow(phrase, at)
                await page.follow("there is no conflict N here: …", at, code=1, NUMBER=999)


async def test_a_replica_that_begins_anew(operator: Operator, db: Pool, tmp_path: Path, postgres_url: str) -> None:
    async with site(tmp_path, "hub", postgres_url, models=RULES) as hub:
        edge = edge_of(operator, hub, await hub.token("--edge", "north", "--owners", "ann"))
        ann = await person(edge, "ann")
        with following("A replica must begin anew") as page:
            async with running(edge.cwd, **edge.settings) as here:
                at = edge.beside(here)
                await pushed(here, ann, "phone", op("CREATE", "l1", name="Somebody"))
                await settled(at)
                async with here.session.get(f"{here.url}/api/v1/sync/pull", headers=ann) as answer:
                    cursor = (await answer.json())["cursor"]
                await db.execute("UPDATE sync_clock SET epoch = epoch + 1")
                pull = f"{here.url}/api/v1/sync/pull?since={cursor}"
                async with here.session.get(pull, headers=ann) as answer:
                    assert answer.status == 410
                await page.follow('ferryman_sync_resyncs_total{reason="epoch"} 1', at)
                async with hub.looked_into() as of_hub:
                    for table in ("sync_ops", "records"):
                        await of_hub.execute(f"DELETE FROM {table}")
                    await of_hub.execute("UPDATE sync_clock SET epoch = epoch + 1")
                    await page.follow("records.rebuild_done", at)
                    await page.follow("records.upstream_went_back", at)
                    await settled(at)
                    assert await of_hub.fetchval("SELECT count(*) FROM records") == 1, "the edge has brought it back"
                    await of_hub.execute("UPDATE sync_replicas SET ack = gen_random_uuid(), ack_before = NULL")
                await pushed(here, ann, "phone", op("UPDATE", "l1", 1, stage="won"))
                await page.follow("records.replica_renewed", at)
                await settled(at)
