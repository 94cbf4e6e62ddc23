"""Find: one field, and the thing itself where the text names one."""

from __future__ import annotations

import pytest

from tests.support.browsers import Office
from tests.support.hostile import HOSTILE
from tests.support.people import bought

PHONE = "+972505550142"


@pytest.mark.parametrize("text", [PHONE, "050-555-0142", "noa@example.com", "Noa Ben-Ari"])
async def test_whatever_names_one_person_leads_to_them_by_an_id(office: Office, text: str) -> None:
    contact = await bought(office.db, PHONE, 7, name="Noa Ben-Ari", email="noa@example.com")
    browser = await office.logged_in("read")
    assert 'action="/find"' in (await browser.get("/find")).text
    answer = await browser.post("/find", {"text": text})
    assert (answer.status, answer.leads_to) == (303, f"/people/{contact}")
    assert (await browser.get(answer.leads_to)).status == 200


async def test_where_several_fit_they_are_listed_masked(office: Office) -> None:
    for n in (1, 2):
        await bought(office.db, f"+97250555014{n}", n, name="Noa Ben-Ari")
    answer = await (await office.logged_in("read")).post("/find", {"text": "Noa"})
    assert answer.status == 200
    assert answer.text.count('href="/people/') == 2
    for secret in ("9725055501", "Ben-Ari", "@example.com"):
        assert secret not in answer.text


@pytest.mark.parametrize("text", ["+15550001111", "", " ", "\x00", HOSTILE])
async def test_nobody_of_that_name_is_said(office: Office, text: str) -> None:
    answer = await (await office.logged_in("read")).post("/find", {"text": text})
    assert answer.status == 200
    assert "Nothing here has that name." in answer.text
    assert "onerror" not in answer.text


async def test_an_order_with_a_strange_id_leads_to_its_own_page(office: Office) -> None:
    at = await office.db.fetchval("SELECT now()")
    for order in (HOSTILE[:20], "a/b?c"):
        await office.db.execute(
            "INSERT INTO orders (order_id, ordered_at, webhook_received_at, raw_body) VALUES ($1, $2, $2, '{}')",
            order,
            at,
        )
    browser = await office.logged_in("read")
    assert (await browser.post("/find", {"text": "a/b?c"})).leads_to == "/orders/a%2Fb%3Fc"
    assert (await browser.post("/find", {"text": HOSTILE[:20]})).leads_to == "/orders/%3Cimg%20src%3Dx%20onerror%3Da"


async def test_several_hits_with_hostile_ids_are_shown_as_text(office: Office) -> None:
    for n in (1, 2):
        await bought(office.db, f"+97250555014{n}", n, name=f"Noa {HOSTILE}", email=f"{n}@example.com")
    answer = await (await office.logged_in("read")).post("/find", {"text": "Noa"})
    assert answer.text.count('href="/people/') == 2
    assert "<img src=x" not in answer.text
    assert "\u202e" not in answer.text
