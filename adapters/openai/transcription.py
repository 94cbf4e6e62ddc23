"""Speech to text: `POST /audio/transcriptions`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from adapters.file_types import ENDINGS
from adapters.gate import Gate
from adapters.http import Part, coded
from adapters.openai.client import NotTaken, OpenAiCalls
from schemas.errors import Refused, Transient
from schemas.understanding import MOST_TEXT, Transcript

MOST_BYTES: Final = 26_214_400
"""The longest request that OpenAI reads, by its refusal: "Maximum content size limit (26214400) exceeded"."""

_BESIDE_THE_FILE: Final = 8_192
"""Bytes of a request that are not the file's, at most."""

TIMEOUT_S: Final = 300.0
"""For one transcription: an hour of voice takes minutes. The vendor's own client waits for ten."""

_ENDINGS: Final[Mapping[str, str]] = {
    **{found: endings[0] for found, endings in ENDINGS.items() if found.startswith(("audio/", "video/"))},
    "audio/flac": ".flac",
    "audio/vorbis": ".ogg",
    "audio/wav": ".wav",
    "application/ogg": ".ogg",
    "video/ogg": ".ogg",
    "video/x-matroska": ".webm",
    "video/webm": ".webm",
    "audio/webm": ".webm",
}
"""How the name must end for OpenAI to know the type: it goes by the ending, and takes no `.opus`."""

_CODES: Final[Mapping[str, str]] = {
    "arabic": "ar",
    "chinese": "zh",
    "dutch": "nl",
    "english": "en",
    "french": "fr",
    "german": "de",
    "hebrew": "he",
    "hindi": "hi",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "polish": "pl",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
    "thai": "th",
    "turkish": "tr",
    "ukrainian": "uk",
    "vietnamese": "vi",
}
"""The names of languages that whisper-1 tells -> their two letters."""

_LONG_BYTES: Final = 3_000_000
"""A larger file may be of an hour and more, whose answer with all its segments is longer than we read."""

_TELLS_MORE: Final = "verbose_json"
_PLAIN: Final = "json"


class OpenAiTranscriber:
    """The `Transcriber` of an account. *model*: of speech to text."""

    most_bytes = MOST_BYTES - _BESIDE_THE_FILE

    def __init__(self, gate: Gate, *, base_url: str, api_key: Callable[[], str], model: str) -> None:
        self._calls = OpenAiCalls(replace(gate, timeout_s=TIMEOUT_S), base_url, api_key)
        self._model = model
        self._format = _TELLS_MORE if "whisper" in model.lower() else _PLAIN  # newer models take json alone

    async def transcribe(self, body: bytes, content_type: str, name: str, language: str | None = None) -> Transcript:
        """See the port. A model that does not take the longer answer is asked once more, and from then on for the
        shorter one."""
        if len(body) > self.most_bytes:
            raise coded(
                Refused(f"the audio is larger than the {MOST_BYTES // 2**20} MB that OpenAI takes"), "too-large"
            )
        form = _PLAIN if len(body) > _LONG_BYTES else self._format
        try:
            answer = await self._ask(form, body, content_type, name, language)
        except NotTaken:
            if form == _PLAIN:
                raise
            self._format = _PLAIN
            answer = await self._ask(_PLAIN, body, content_type, name, language)
        text = answer.get("text")
        if not isinstance(text, str):
            raise coded(Transient("OpenAI: a transcription without a text"), "other-shape")
        return Transcript(text.strip()[:MOST_TEXT], _duration(answer), _language(answer))

    async def _ask(
        self, form: str, body: bytes, content_type: str, name: str, language: str | None
    ) -> Mapping[str, Any]:
        fields = {"model": self._model, "response_format": form}
        if language is not None:
            fields["language"] = language
        file = Part("file", body, _named(name, content_type), content_type)
        parts = [*(Part(field, value) for field, value in fields.items()), file]
        about = sha256(body).hexdigest()
        return await self._calls.ask("/audio/transcriptions", about=about, parts=parts, private=(name,))


def _named(name: str, content_type: str) -> str:
    """*name* with the ending of its true type; its own where the type is not known."""
    ending = _ENDINGS.get(content_type.partition(";")[0].strip().lower())
    stem = name.rpartition(".")[0] or name or "audio"
    return name or stem if ending is None else f"{stem}{ending}"


def _duration(answer: Mapping[str, Any]) -> float | None:
    """Seconds: *duration* of the longer answer (a number, or text of one); else what was billed by duration."""
    usage = answer.get("usage")
    billed = usage.get("seconds") if isinstance(usage, dict) else None
    for told in (answer.get("duration"), billed):
        if isinstance(told, bool) or not isinstance(told, int | float | str):
            continue
        try:
            seconds = float(told)
        except (ValueError, OverflowError):
            continue
        if math.isfinite(seconds) and 0 <= seconds < 10**7:
            return seconds
    return None


def _language(answer: Mapping[str, Any]) -> str | None:
    """The language, by its name or its letters: whisper-1 tells one, newer models a list."""
    told = answer.get("language")
    several = answer.get("languages")
    if told is None and isinstance(several, list) and len(several) == 1:
        told = several[0].get("code") if isinstance(several[0], dict) else several[0]
    if not isinstance(told, str):
        return None
    word = told.strip().lower()
    letters = word.partition("-")[0]
    return letters if len(letters) == 2 and letters.isascii() and letters.isalpha() else _CODES.get(word)
