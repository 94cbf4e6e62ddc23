"""Stamps as they are stored: those that nobody has looked at go back as they came."""

from __future__ import annotations

import orjson

from schemas.records.stamps import LIFE, Stamp, dumped, loaded, over

TEXT = '{"name":[7,0,"phone-1",3,"up",2],"city":[5,1,"phone-2",2,"phone-2"]}'
NAME, CITY = Stamp(7, 0, "phone-1", 3, "up", 2), Stamp(5, 1, "phone-2", 2, "phone-2", 0)


def test_a_stored_text_holds_stamps() -> None:
    stamps = loaded(TEXT)
    assert stamps == {"name": NAME, "city": CITY}
    assert (stamps["name"], stamps.get("city"), stamps.get("fax")) == (NAME, CITY, None)
    assert loaded(dumped(stamps)) == stamps == loaded(dumped(dict(stamps)))


def test_later_stamps_take_the_place_of_theirs_and_the_others_stay() -> None:
    later = Stamp(9, 0, "phone-3", 4, "phone-3")
    before = loaded(TEXT)
    for stamps in (before, dict(before)):
        after = over(over(stamps, {"city": later}), {LIFE: later})
        assert after == {"name": NAME, "city": later, LIFE: later}
        assert orjson.loads(dumped(after))["city"] == [9, 0, "phone-3", 4, "phone-3", 0]
    assert before == {"name": NAME, "city": CITY}, "what was read stays as it was"
