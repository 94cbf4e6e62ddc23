"""What a running process takes of new settings, and what has to wait for a start."""

from __future__ import annotations

import pytest

from daemon.settings.in_force import InForce, change
from daemon.settings.load import load_settings
from daemon.settings.model import Settings

ORDERS = ("orders_api_key", "orders_webhook_secret")
PROOFS = ("twilio_auth_token", "twilio_webhook_secret")
TWILIO = {"TWILIO_ACCOUNT_SID": "AC1", "TWILIO_AUTH_TOKEN": "a"}
META = {"META_PHONE_NUMBER_ID": "1"}
ONE, OTHER = "one-0123456789abcdef", "other-0123456789abcdef"
FERNET = "A" * 43 + "="
SIGNING = "whsec_" + "A" * 32


def load(**environ: str) -> Settings:
    return load_settings(environ, None)


@pytest.mark.parametrize(
    ("now", "new", "taken", "waiting"),
    [
        ({"ORDERS_API_KEY": ONE}, {"ORDERS_API_KEY": f"{OTHER},{ONE}"}, ("ORDERS_API_KEY",), ()),
        # another kind of proof of a source that is served
        ({"ORDERS_API_KEY": ONE}, {"ORDERS_WEBHOOK_SECRET": SIGNING}, ("ORDERS_WEBHOOK_SECRET", "ORDERS_API_KEY"), ()),
        # a source without any secret is not served, and a start decides which are
        ({"ORDERS_API_KEY": ONE}, {}, (), ("ORDERS_API_KEY",)),
        ({"CGB_API_KEY": "a"}, {"CGB_API_KEY": "b"}, ("CGB_API_KEY",), ()),
        (META | {"META_ACCESS_TOKEN": "a"}, META | {"META_ACCESS_TOKEN": "b"}, ("META_ACCESS_TOKEN",), ()),
        # what needs it is off, or would have to end
        ({}, {"CGB_API_KEY": "b"}, (), ("CGB_API_KEY",)),
        ({"CGB_API_KEY": "a"}, {}, (), ("CGB_API_KEY",)),
        (
            {"CGB_API_KEY": "a"},
            {"CGB_API_KEY": "b", "FERRYMAN_PORT": "1", "CGB_TEMPLATE_X": "1"},
            ("CGB_API_KEY",),
            ("FERRYMAN_PORT", "CGB_TEMPLATE_<NAME>"),
        ),
        # of a source and of a sender; a sender cannot do without it
        (TWILIO, TWILIO | {"TWILIO_AUTH_TOKEN": "b"}, ("TWILIO_AUTH_TOKEN",), ()),
        (TWILIO, TWILIO | {"TWILIO_WEBHOOK_SECRET": ONE}, ("TWILIO_WEBHOOK_SECRET",), ()),
        (TWILIO, {"TWILIO_WEBHOOK_SECRET": ONE}, ("TWILIO_WEBHOOK_SECRET",), tuple(TWILIO)),
        ({}, TWILIO, (), tuple(TWILIO)),
        # of a source that this process does not serve
        ({}, {"META_APP_SECRET": ONE}, (), ("META_APP_SECRET",)),
        # stored accounts are decrypted again and again
        ({"FERRYMAN_SECRET_KEY": FERNET}, {}, ("FERRYMAN_SECRET_KEY",), ()),
        ({}, {"FERRYMAN_SECRET_KEY": FERNET}, ("FERRYMAN_SECRET_KEY",), ()),
        ({"CGB_TIMEOUT": "5"}, {"CGB_TIMEOUT": "5"}, (), ()),
    ],
)
def test_secrets_of_what_runs_are_taken_and_the_rest_waits_for_a_start(
    now: dict[str, str], new: dict[str, str], taken: tuple[str, ...], waiting: tuple[str, ...]
) -> None:
    before, after = load(**now), load(**new)
    served = [secrets for secrets in (ORDERS, PROOFS) if any(name.upper() in now for name in secrets)]
    made = change(before, after, served)
    assert (made.taken, made.waiting) == (taken, waiting)
    for name in map(str.lower, (*now, *new)):
        if not name.startswith("cgb_template"):
            wanted = after if name.upper() in taken else before
            assert getattr(made.settings, name) == getattr(wanted, name)
    again = change(made.settings, after, served)
    assert (again.taken, again.waiting) == ((), waiting), "what was taken is in force"


def test_what_came_of_it_is_told_without_a_secret() -> None:
    made = change(load(CGB_API_KEY=ONE), load(CGB_API_KEY=OTHER, FERRYMAN_PORT="1"), [])
    assert str(made) == "took CGB_API_KEY; at the next start: FERRYMAN_PORT"
    assert str(change(load(), load(), [])) == "nothing new was taken"
    assert OTHER not in repr(made)


def test_a_secret_is_that_of_the_settings_in_force() -> None:
    in_force = InForce(load(CGB_API_KEY="a", ORDERS_API_KEY=f"{ONE},{OTHER}"))
    assert (in_force.secret("cgb_api_key"), in_force.secrets("orders_api_key")) == ("a", [ONE, OTHER])
    in_force.settings = load(CGB_API_KEY="b")
    assert (in_force.secret("cgb_api_key"), in_force.secrets("orders_api_key")) == ("b", [])


def test_a_secret_of_one_value_is_a_list_of_it_for_its_source() -> None:
    in_force = InForce(load(**TWILIO))
    assert (in_force.secret("twilio_auth_token"), in_force.secrets("twilio_auth_token")) == ("a", ["a"])
    in_force.settings = load()
    assert in_force.secrets("twilio_auth_token") == []


class Stored:
    """Secrets that are kept elsewhere."""

    def beside(self, setting: str) -> list[str]:
        return ["stored"] if setting == "twilio_auth_token" else []

    def instead(self, setting: str) -> str | None:
        return "stored" if setting == "whapi_token" else None


def test_stored_secrets_stand_beside_those_of_the_settings_or_in_their_place() -> None:
    in_force = InForce(load(**TWILIO, WHAPI_TOKEN="w", CGB_API_KEY="c"), Stored())
    assert in_force.secrets("twilio_auth_token") == ["a", "stored"]
    assert in_force.secrets("twilio_webhook_secret") == []
    assert (in_force.secret("whapi_token"), in_force.secret("cgb_api_key")) == ("stored", "c")
