"""What an account needs: fields by name, the form of one token, and errors that name fields and repeat no value."""

from __future__ import annotations

import string
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.credentials import SECRETS, secret_from, secret_from_token
from schemas.errors import Malformed

SID: Final = "AC0123456789abcdef0123456789abcdef"
NUMBER: Final = "+15550001234"
TWILIO: Final = {"account_sid": SID, "auth_token": "tok-1", "whatsapp_number": NUMBER}
META: Final = {"access_token": "EAAx", "phone_number_id": "1060001"}


@pytest.mark.parametrize(
    ("provider", "secret", "kept"),
    [
        ("meta", META, META),
        ("meta", {"phone_number_id": 1060001, "access_token": " EAAx\n"}, META),
        ("meta", {"accessToken": "EAAx", "phoneNumberId": "1060001"}, META),
        ("meta", META | {"url": "https://graph.example/v23.0/"}, META | {"url": "https://graph.example/v23.0"}),
        ("meta", META | {"waba_id": None}, META),
        ("twilio", TWILIO | {"whatsapp_number": f"whatsapp:{NUMBER}"}, TWILIO),
        ("twilio", {"accountSid": SID, "authToken": "tok-1", "phoneNumber": NUMBER}, TWILIO),
        ("whapi", {"token": "w"}, {"token": "w"}),
        ("cgb", {"api_key": "k"}, {"api_key": "k"}),
        (
            "chatwoot",
            {"api_access_token": "t", "account_id": 2, "inbox_id": "7"},
            {"api_access_token": "t", "account_id": "2", "inbox_id": "7"},
        ),
        ("chatwoot", {"webhookSecret": "s"}, {"webhook_secret": "s"}),
    ],
)
def test_the_fields_of_an_account(provider: str, secret: dict[str, Any], kept: dict[str, str]) -> None:
    assert secret_from(provider, secret) == kept


@pytest.mark.parametrize(
    ("provider", "secret", "says"),
    [
        ("pigeon", {}, "provider must be one of cgb, chatwoot, meta, twilio, whapi"),
        ("meta", {}, "secret.access_token is missing; secret.phone_number_id is missing"),
        ("chatwoot", {"webhook_secret": "hush", "inbox_id": 7}, "secret.api_access_token is missing"),
        ("meta", META | {"token": "hush"}, "secret.token is no field of meta: it has access_token, phone_number_id"),
        ("meta", META | {"EAA hush": "x"}, "a name in secret is no field of meta"),
        ("meta", META | {"accessToken": "hush"}, "given twice"),
        ("meta", META | {"access_token": ""}, "secret.access_token must be"),
        ("meta", META | {"access_token": ["hush"]}, "secret.access_token must be"),
        ("meta", META | {"access_token": True}, "secret.access_token must be"),
        ("meta", META | {"access_token": "hush\nX-Evil: 1"}, "secret.access_token must be"),
        ("meta", META | {"access_token": "húsh"}, "secret.access_token must be"),
        ("meta", META | {"access_token": "hush" * 2000}, "secret.access_token must be"),
        ("meta", META | {"url": "ftp://hush"}, "secret.url must be an address"),
        ("meta", META | {"url": "https://hush:hush@graph.example"}, "secret.url must be an address"),
        ("meta", META | {"url": "https://graph.example:hush"}, "secret.url must be an address"),
        ("twilio", TWILIO | {"whatsapp_number": "hush"}, "secret.whatsapp_number must be a phone number"),
        ("chatwoot", {"api_access_token": "t", "account_id": "hush", "inbox_id": 1}, "secret.account_id must be"),
    ],
)
def test_what_is_wrong_is_named_and_its_value_is_not_repeated(provider: str, secret: dict[str, Any], says: str) -> None:
    with pytest.raises(Malformed) as caught:
        secret_from(provider, secret)
    assert says in str(caught.value)
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("provider", SECRETS)
def test_the_repr_of_a_secret_has_no_value(provider: str) -> None:
    fields = {name: NUMBER if name == "whatsapp_number" else "4711" for name in SECRETS[provider].model_fields}
    secret = SECRETS[provider].model_validate(fields | {"url": "https://4711.example"})
    assert "4711" not in f"{secret!r} {secret}"


@pytest.mark.parametrize(
    ("asked", "provider", "kept"),
    [
        ((f"{SID}:tok-1:{NUMBER}:twilio",), "twilio", TWILIO),
        ((f" {SID}:tok:with:colons:{NUMBER}:twilio\n",), "twilio", TWILIO | {"auth_token": "tok:with:colons"}),
        ((f"{SID}:tok-1:{NUMBER}:twilio", None, None, "twilio"), "twilio", TWILIO),
        ((SID, "tok-1", NUMBER, "twilio"), "twilio", TWILIO),
        ((SID, "tok-1", NUMBER), "twilio", TWILIO),
        (("EAAx:1060001:whatsapp-business-api",), "meta", META),
        (("EAAx", None, "1060001", "whatsapp-business-api"), "meta", META),
        (("EAAx", "1060001", None, "meta"), "meta", META),
        (("whapi-token",), "whapi", {"token": "whapi-token"}),
        (("whapi-token", None, None, "Whapi"), "whapi", {"token": "whapi-token"}),
        (("k", None, None, "cgb"), "cgb", {"api_key": "k"}),
    ],
)
def test_one_token_as_the_older_program_writes_it(
    asked: tuple[str | None, ...], provider: str, kept: dict[str, str]
) -> None:
    assert secret_from_token(*asked) == (provider, kept)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ((SID,), "secret.auth_token is missing; secret.whatsapp_number is missing"),
        ((SID, "tok-1", None, "twilio"), "secret.whatsapp_number is missing"),
        ((f"{SID}:{NUMBER}:twilio",), "missing"),
        ((f"{SID}:tok-1:{NUMBER}:twilio", None, None, "whapi"), "names another one"),
        ((f"{SID}:tok-1:{NUMBER}:twilio", "more"), "give no secret"),
        (("a:b:c",), "provider is missing"),
        (("EAAx",), "provider is missing"),
        (("w", "s", None, "whapi"), "one token"),
        (("t", None, None, "chatwoot"), "no form as one token"),
        (("t", None, None, "pigeon"), "provider must be one of"),
        (("",), "missing"),
    ],
)
def test_a_token_whose_provider_or_parts_are_in_doubt_is_refused(asked: tuple[str | None, ...], says: str) -> None:
    with pytest.raises(Malformed, match=says):
        secret_from_token(*asked)  # type: ignore[arg-type]


PLAIN: Final = st.text(string.ascii_letters + string.digits + ":-_/+=.", min_size=1, max_size=60)


@given(PLAIN.filter(lambda text: text.strip(":") == text))
def test_a_token_of_twilio_may_hold_anything(auth: str) -> None:
    _, kept = secret_from_token(f"{SID}:{auth}:{NUMBER}:twilio")
    assert kept["auth_token"] == auth


@given(
    st.sampled_from(sorted(SECRETS)),
    st.dictionaries(st.text(max_size=50), st.none() | st.booleans() | st.integers() | st.text(max_size=50), max_size=5),
)
def test_whatever_is_given_is_taken_as_fields_or_refused(provider: str, secret: dict[str, Any]) -> None:
    try:
        kept = secret_from(provider, secret)
    except Malformed:
        kept = {}
    assert kept.keys() <= SECRETS[provider].model_fields.keys()
