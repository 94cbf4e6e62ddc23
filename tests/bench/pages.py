"""How fast the operator's pages are: `python -m tests.bench.pages [--json]` (3 minutes).

100,000 orders of 50,000 people, 1,000,000 events with what became of them, 200,000 messages, 20,000 dead letters of 40
kinds, 100,000 rows in the audit log, and a few of everything else stand behind the pages, on embedded stores in this
process's neighbours. Each page that an operator comes to is asked for in turn, and its first rows older once more.
Bar: 300 ms of the server's time for each at the median. Server and asker share a core: what is told is a little more.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from html import unescape
from statistics import median
from typing import Final

import asyncpg
from pydantic import SecretStr

from adapters.postgres.bus.days import ensure_days
from adapters.postgres.pool import Pool, connect
from adapters.redis import client as redis_client
from daemon.settings.model import Settings
from tests.bench.rig import Figure, main, stores
from tests.support.browsers import Browser, opened_office
from tests.support.crawled import crawled
from tests.support.filled import fill

TIMES: Final = 7
BAR_MS: Final = 300.0

ORDERS: Final = 100_000
EVENTS: Final = 1_000_000

_ID: Final = "md5('event ' || n)::uuid::text"
_PHONE: Final = "'+97250' || lpad((n % 50000)::text, 7, '0')"
_WORKER: Final = "(ARRAY['contact-sync', 'journal', 'outbound-messaging', 'crm-labels'])[1 + n % 4]"

ROWS: Final = {
    "contacts": f"""
INSERT INTO contacts (id, name, email, language, created_at, updated_at)
SELECT md5('contact ' || n)::uuid, 'Noa Levi ' || n, 'noa' || n || '@shop.example', 'he', now() - n * interval '1 min',
  now() - n * interval '1 min' FROM generate_series(1, {ORDERS // 2}) n""",
    "contact_identities": f"""
INSERT INTO contact_identities (contact_id, kind, value)
SELECT md5('contact ' || n)::uuid, 'phone', {_PHONE} FROM generate_series(1, {ORDERS // 2}) n
ON CONFLICT DO NOTHING""",
    "orders": f"""
INSERT INTO orders (order_id, branch, amount, currency, order_status, client_name, client_email, client_phone_e164,
  ordered_at, raw_body, webhook_received_at, cgb_sync_status, cbb_contact_uuid, event_id)
SELECT 'IL' || n, 'il', n, 'ILS', 'paid', 'Noa Levi ' || n, 'noa' || n || '@shop.example', {_PHONE},
  now() - n * interval '10 s', '{{}}', now() - n * interval '10 s',
  (ARRAY['synced', 'synced', 'synced', 'failed', 'pending'])[1 + n % 5], md5('contact ' || (1 + n % 50000))::uuid, {_ID}
FROM generate_series(1, {ORDERS}) n""",
    "event_journal": f"""
INSERT INTO event_journal (id, type, source, subject, time, data, traceparent, causationid, schemaversion, recorded_at)
SELECT {_ID}, 'order.received', 'orders', {_PHONE}, now() - n * interval '10 ms', '{{"order_id": "IL' || n || '"}}',
  '', '', 1, now() - n * interval '10 ms' FROM generate_series(1, {EVENTS}) n""",
    "inbox": f"""
INSERT INTO inbox (worker, event_id, outcome, data_hash, at)
SELECT {_WORKER}, {_ID}, 'done', '', now() - n * interval '10 ms' FROM generate_series(1, {EVENTS}) n""",
    "messages": f"""
INSERT INTO messages (id, direction, status, provider, phone, kind, content, purpose, event_id, created_at)
SELECT md5('message ' || n)::uuid, 'out', (ARRAY['sent', 'delivered', 'read', 'failed', 'uncertain'])[1 + n % 5],
  'meta', {_PHONE}, 'text', '{{"text": "Shalom"}}', 'api', {_ID}, now() - n * interval '1 s'
FROM generate_series(1, {2 * ORDERS}) n""",
    "dead_letters": f"""
INSERT INTO dead_letters (worker, event_id, type, source, subject, time, data, traceparent, causationid, schemaversion,
  error_class, error_text, error_code, attempts, fingerprint, buried_at)
SELECT {_WORKER}, {_ID}, 'order.received', 'orders', {_PHONE}, now(), '{{}}', '', '', 1, 'Refused', 'it is no contact',
  'refused', 5, 'print-' || n % 40, now() - n * interval '4 s' FROM generate_series(1, 20000) n""",
    "audit_log": """
INSERT INTO audit_log (at, actor, action, subject, detail)
SELECT now() - n * interval '1 min', 'Noa', 'letters.retried', 'worker:contact-sync', '{"count": 7}'
FROM generate_series(1, 100000) n""",
    "refused_requests": """
INSERT INTO refused_requests (source, reason, status, headers, at, path)
SELECT 'orders', (ARRAY['signature', 'size', 'junk'])[1 + n % 3], 401, '{}', now() - n * interval '20 s',
  '/webhooks/orders' FROM generate_series(1, 50000) n""",
    "conversations": f"""
INSERT INTO conversations (chat, system, line, phone, status, last_message_at)
SELECT 'chat ' || n, 'meta', {_PHONE}, {_PHONE}, 'open', now() - n * interval '1 min'
FROM generate_series(1, 50000) n""",
}


async def measure() -> list[Figure]:
    async with AsyncExitStack() as stack:
        addresses = await stack.enter_async_context(stores())
        pool = await stack.enter_async_context(connect(addresses.database_url, size=8))
        redis = redis_client.client(addresses.redis_url, timeout_s=5.0, connections=20)
        stack.push_async_callback(redis.aclose)
        await _fill(pool, addresses.database_url)
        settings = Settings(
            redis_url=SecretStr(addresses.redis_url),
            database_url=SecretStr(addresses.database_url),
            ferryman_admin_token=SecretStr("t" * 20),
        )
        office = await stack.enter_async_context(opened_office(redis, pool, settings))
        browser = await office.logged_in()
        paths = await crawled(office.url, browser.jar)
        return [figure for path in paths for figure in await _page(browser, path)]


async def _fill(pool: Pool, url: str) -> None:
    await ensure_days(pool)
    await fill(url)
    conn = await asyncpg.connect(url)  # the pool's statements have a limit of time
    for statement in (*ROWS.values(), "VACUUM (ANALYZE)"):
        await conn.execute(statement)
    await conn.close()


async def _page(browser: Browser, path: str) -> Sequence[Figure]:
    """The page, and what is older there."""
    took, text = await _asked(browser, path)
    figures = [Figure(path, took, "ms", at_most=BAR_MS)]
    if (older := re.search(r'<a rel="next" href="([^"]+)"', text)) is not None:
        took, _ = await _asked(browser, unescape(older[1]))
        figures.append(Figure(f"{path}, older", took, "ms", at_most=BAR_MS))
    return figures


async def _asked(browser: Browser, path: str) -> tuple[float, str]:
    """The median of TIMES, and what was shown."""
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        shown = await browser.get(path)
        took.append((time.perf_counter() - began) * 1000)
        assert shown.status == 200, (path, shown.status)
    return median(took), shown.text


if __name__ == "__main__":
    main(measure, __doc__)
