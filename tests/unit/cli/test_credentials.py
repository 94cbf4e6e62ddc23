"""`ferryman credentials set`: where the fields may come from, and that nothing typed is shown."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from daemon.cli import credentials as verb
from daemon.cli.credentials import _given
from schemas.errors import UsageError

FIELDS = {"access_token": "EAAcanary", "phone_number_id": "106"}


def typed(monkeypatch: pytest.MonkeyPatch, content: bytes = b"", *, terminal: bool = False) -> None:
    stdin = SimpleNamespace(isatty=lambda: terminal, buffer=io.BytesIO(content))
    monkeypatch.setattr(verb.sys, "stdin", stdin)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("provider", "content", "values"),
    [
        ("meta", json.dumps(FIELDS).encode(), FIELDS),
        ("meta", b"\xef\xbb\xbf " + json.dumps(FIELDS).encode() + b"\r\n", FIELDS),
        ("meta", b"EAAcanary:106:whatsapp-business-api\n", FIELDS),
        ("whapi", b"whapi-token\n", {"token": "whapi-token"}),
        ("cgb", b"key", {"api_key": "key"}),
    ],
)
@pytest.mark.parametrize("way", ["file", "-", None])
def test_the_fields_come_from_a_file_or_the_standard_input(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    provider: str,
    content: bytes,
    values: dict[str, str],
    way: str | None,
) -> None:
    typed(monkeypatch, b"" if way == "file" else content)
    (tmp_path / "fields").write_bytes(content)
    one = _given(provider, "second", str(tmp_path / "fields") if way == "file" else way)
    assert (one.provider, one.account, one.values) == (provider, "second", values)


@pytest.mark.parametrize(
    ("provider", "content"),
    [
        ("meta", b""),
        ("meta", b" \n"),
        ("meta", b"{canary"),
        ("meta", b'{"access_token": "canary"}'),
        ("meta", b'{"access_token": "canary", "access_token": "canary"}'),
        ("whapi", b"canary\ncanary"),
        ("whapi", b"\xff\xfecanary"),
        ("whapi", b"canary:106:whatsapp-business-api"),
        ("whapi", b"x" * 70_000),
        ("chatwoot", b"canary"),
    ],
)
def test_what_cannot_be_an_account_is_a_usage_error_that_repeats_no_value(
    monkeypatch: pytest.MonkeyPatch, provider: str, content: bytes
) -> None:
    typed(monkeypatch, content)
    with pytest.raises(UsageError) as caught:
        _given(provider, "default", "-")
    assert "canary" not in str(caught.value)


def test_on_a_terminal_each_field_is_asked_for_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []

    def prompt(text: str, **given: Any) -> str:
        asked.append((text, given["hide_input"]))
        return FIELDS.get(text, "")

    typed(monkeypatch, terminal=True)
    monkeypatch.setattr(typer, "prompt", prompt)
    assert _given("meta", "default", None).values == FIELDS
    optional = [f"{name} (may be empty)" for name in ("url", "waba_id", "app_secret")]
    assert asked == [(text, True) for text in ("access_token", "phone_number_id", *optional)]
