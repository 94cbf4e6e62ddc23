"""Traces of a real process, as a collector gets them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from adapters.postgres.pool import Pool
from daemon.sandbox.cgb import CgbSandbox
from tests.support.collector import attributes, collector
from tests.support.daemons import API_KEY, digits_of, free_port, running, some_orders, synced
from tests.support.until import until

TRACE: Final = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT: Final = "00f067aa0ba902b7"
QUICK: Final[dict[str, Any]] = {"OTEL_BSP_SCHEDULE_DELAY": 200}


async def test_an_order_is_one_trace_from_its_webhook_to_cgb(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    (order,) = some_orders(1)
    proof = {"X-API-Key": API_KEY, "traceparent": f"00-{TRACE}-{PARENT}-01"}
    async with (
        collector() as taken,
        running(tmp_path, **settings, **QUICK, OTEL_EXPORTER_OTLP_ENDPOINT=taken.url) as here,
    ):
        status, answer = await here.post(order, **proof)
        assert status == 202
        (event_id,) = answer["event_ids"]
        await synced(db, 1)
        await until(lambda: len(taken.named("commit")) >= 2 and taken.named("append"), "the spans")
        assert await here.stop() == 0

    (webhook,) = taken.named("POST /webhooks/orders")
    assert (webhook.trace_id.hex(), webhook.parent_span_id.hex()) == (TRACE, PARENT)
    assert attributes(webhook)["http.response.status_code"] == 202
    (published,) = taken.named("orders publish")
    assert published.parent_span_id == webhook.span_id
    assert attributes(published)["messaging.message.id"] == event_id
    (appended,) = taken.named("append")
    assert [link.span_id for link in appended.links] == [published.span_id]
    handled = taken.named("contact-sync process")
    assert handled, "the sync takes several calls of its handler, which are of one trace"
    for span in handled:
        assert (span.trace_id.hex(), span.parent_span_id) == (TRACE, published.span_id)
        assert [event.name for event in span.events] == ["waited in lane"]
    assert taken.named("journal process")[0].parent_span_id == published.span_id
    asked = [span for span in taken.spans if span.name.endswith(" cgb")]
    assert {span.name for span in asked} >= {"GET cgb", "POST cgb"}
    assert {span.parent_span_id for span in asked} <= {span.span_id for span in handled}
    assert {attributes(span)["http.response.status_code"] for span in asked} == {200}
    linked = {link.span_id for span in taken.named("commit") for link in span.links}
    assert linked >= {span.span_id for span in handled}
    synced_events = [span for span in taken.spans if attributes(span).get("ferryman.event_type") == "contact.synced"]
    assert {span.parent_span_id for span in synced_events} <= {span.span_id for span in handled}
    assert (taken.resource["service.name"], bool(taken.resource["service.instance.id"])) == ("ferryman", True)


async def test_nothing_about_a_person_is_in_a_trace(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    cgb.faults.add("error", status=422, times=1)
    client = order["form"]["client"]
    private = [digits_of(order), client["name"], client["email"], str(order["order"]["id"]), API_KEY]
    async with (
        collector() as taken,
        running(tmp_path, **settings, **QUICK, OTEL_EXPORTER_OTLP_ENDPOINT=taken.url) as here,
    ):
        assert (await here.post(order))[0] == 202
        await until(lambda: taken.named("contact-sync process"), "the spans")
        assert await here.stop() == 0
    sent = b"".join(taken.bodies).decode("latin-1")
    assert [text for text in private if text and text in sent] == []


async def test_a_retry_begins_a_trace_of_its_own_with_a_link_to_the_first(
    tmp_path: Path, settings: dict[str, Any], cgb: CgbSandbox, db: Pool
) -> None:
    (order,) = some_orders(1)
    cgb.faults.add("error", times=1)
    async with (
        collector() as taken,
        running(tmp_path, **settings, **QUICK, OTEL_EXPORTER_OTLP_ENDPOINT=taken.url) as here,
    ):
        assert (await here.post(order))[0] == 202
        await synced(db, 1)
        await until(lambda: len(taken.named("contact-sync process")) >= 2, "the spans")
        assert await here.stop() == 0
    (published,) = taken.named("orders publish")
    failed = [s for s in taken.named("contact-sync process") if attributes(s)["ferryman.outcome"] == "failed"]
    assert failed
    assert failed[0].trace_id == published.trace_id
    again = taken.named("contact-sync process")[-1]
    assert again.trace_id != published.trace_id
    assert [link.span_id for link in again.links] == [published.span_id]


async def test_a_collector_that_is_away_delays_no_order_and_the_stop_by_two_seconds_at_most(
    tmp_path: Path, settings: dict[str, Any], db: Pool
) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with running(tmp_path, **settings, **QUICK, OTEL_EXPORTER_OTLP_ENDPOINT=nobody) as here:
        for order in some_orders(5):
            assert (await here.post(order))[0] == 202
        await synced(db, 5)
        began = time.monotonic()
        assert await here.stop() == 0
        took = time.monotonic() - began
        cut = [line for line in here.lines if '"traces.cut"' in line]
    assert cut, "the collector was still asked when the process ended"
    assert took < 10, "the exporter alone would take as long"


async def test_without_the_variables_the_process_says_that_traces_are_off(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    async with running(tmp_path, **settings) as here:
        async with here.session.get(f"{here.url}/metrics") as answer:
            page = await answer.text()
        assert await here.stop() == 0
    assert 'traces="off"' in page
    assert 'ferryman_spans_total{outcome="ended"} 0' in page
