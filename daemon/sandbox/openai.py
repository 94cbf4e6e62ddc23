"""A simulator of OpenAI, as far as Ferryman asks it: a real HTTP server with faults on demand.

Shapes by openai/openai-openapi (CreateTranscriptionResponseJson, …VerboseJson, CreateChatCompletionResponse,
ErrorResponse); words and codes of refusals as they are reported of the service: `audio_too_short`, the 413 whose type
is `server_error`, `unsupported_value` of response_format.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Self
from uuid import uuid4

from aiohttp import web
from aiohttp.typedefs import Handler

from daemon.sandbox.faults import Fault, Faults, body_json, spoiled
from daemon.sandbox.ledger import Asked, Ledger

KEY: Final = "sk-sandbox"
MOST_BYTES: Final = 26_214_400
"""Of a request; see adapters/openai/transcription.py."""

SHORTEST_BYTES: Final = 16
"""A file below this counts as shorter than 0.1 seconds."""

BYTES_A_SECOND: Final = 2_000
"""How long a file is held to be: a voice note has some 16 kbit/s."""

_ENDINGS: Final = ("flac", "m4a", "mp3", "mp4", "mpeg", "mpga", "oga", "ogg", "wav", "webm")
_LANGUAGE: Final = re.compile(r"[a-z]{2}")
_WRONG: Final = "invalid_request_error"


def _note(body: bytes) -> str:
    return f"a voice note of {len(body)} bytes"


def _as_note(text: str) -> Any:
    return {"intent": "NOTE", "confidence": 0.9, "params": {}}


@dataclass(slots=True, kw_only=True)
class Switches:
    """How the account is. *models*: the ones that it has. *credit*: whether there is some left. *hears*: file -> what
    is said in it; *texts*: the same by the SHA-256 of the file, first. *language*: by its name, as whisper-1 tells it.
    *answers*: message -> what the chat model says, as an object, or as the text itself. *refused*: parameters of a chat
    that its model does not take. *finish*: why its answers end."""

    models: list[str] = field(default_factory=lambda: ["whisper-1", "gpt-4o-transcribe", "gpt-4o-mini"])
    credit: bool = True
    hears: Callable[[bytes], str] = _note
    texts: dict[str, str] = field(default_factory=dict)
    language: str = "english"
    answers: Callable[[str], Any] = _as_note
    refused: list[str] = field(default_factory=list)
    finish: str = "stop"


@dataclass(frozen=True, slots=True)
class Heard:
    """A file that was transcribed, as it came."""

    name: str
    content_type: str
    body: bytes
    fields: Mapping[str, str]


class OpenAiSandbox:
    """The simulator, as an async context manager. *port* 0: any free one; *url* is known once it runs. *key*: the one
    that it takes. Attributes for tests: `ledger`, `faults`, `switches`, `heard`: the files, `chats`: the requests of
    chats."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, key: str = KEY) -> None:
        self.key = key
        self.ledger = Ledger()
        self.faults = Faults()
        self.switches = Switches()
        self.heard: list[Heard] = []
        self.chats: list[Mapping[str, Any]] = []
        self._host = host
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(middlewares=[self._judge], client_max_size=4 * MOST_BYTES)
        app.add_routes(
            [
                web.post("/v1/audio/transcriptions", self._transcribe),
                web.post("/v1/chat/completions", self._complete),
                web.get("/v1/models", self._models),
            ]
        )
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def url(self) -> str:
        """What to give as OPENAI_BASE_URL."""
        return f"http://{self._host}:{self._port}/v1"

    @web.middleware
    async def _judge(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The way of a request: write it down, check its key and its fault, then perform it."""
        action = {"transcriptions": "transcribe", "completions": "chat"}.get(request.path.rpartition("/")[2], "models")
        entry = self.ledger.open(method=request.method, path=request.path, action=action, contact="")
        if request.headers.get("Authorization") != f"Bearer {self.key}":
            answer: web.StreamResponse = _wrong_key()
        else:
            answer = await self._answer(request, handler, entry)
        entry.status = answer.status if request.transport is not None else None
        return answer

    async def _answer(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        fault = self.faults.take(request.method, request.path, "")
        if fault is None or fault.kind == "slow":
            await asyncio.sleep(fault.seconds if fault else 0)
            return await self._perform(request, handler, entry)
        done = await self._perform(request, handler, entry) if fault.performs else web.json_response({})
        answer = await spoiled(request, fault, done)
        return _worded(fault) if answer is None else answer

    async def _perform(self, request: web.Request, handler: Handler, entry: Asked) -> web.StreamResponse:
        try:
            answer = await handler(request)
        except web.HTTPException as refusal:  # no such route, no such method
            return _no(refusal.status, f"Invalid URL ({request.method} {request.path})")
        entry.performed = answer.status < 400
        return answer

    async def _transcribe(self, request: web.Request) -> web.Response:
        if (length := request.content_length or 0) > MOST_BYTES:
            text = f"Maximum content size limit ({MOST_BYTES}) exceeded ({length} bytes read)"
            return _no(413, text, kind="server_error")
        form = await request.post()
        file = form.get("file")
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        if not isinstance(file, web.FileField):
            return _no(400, "you must provide a file", param="file")
        if (refusal := self._refusal(file.filename, fields)) is not None:
            return refusal
        body = file.file.read()
        if len(body) < SHORTEST_BYTES:
            text = "Audio file is too short. Minimum audio length is 0.1 seconds."
            return _no(400, text, param="file", code="audio_too_short")
        self.heard.append(Heard(file.filename, file.content_type, body, fields))
        text = self.switches.texts.get(sha256(body).hexdigest()) or self.switches.hears(body)
        return web.json_response(_transcription(text, len(body) / BYTES_A_SECOND, fields, self.switches.language))

    def _refusal(self, name: str, fields: Mapping[str, str]) -> web.Response | None:
        model, form = fields.get("model", ""), fields.get("response_format", "json")
        if not model:
            return _no(400, "you must provide a model parameter")
        if (refusal := self._no_model(model)) is not None:
            return refusal
        if form == "verbose_json" and not model.startswith("whisper"):
            text = f"response_format '{form}' is not compatible with model '{model}'. Use 'json' or 'text' instead."
            return _no(400, text, param="response_format", code="unsupported_value")
        if form not in ("json", "verbose_json"):
            return _no(400, f"Invalid value: '{form}'.", param="response_format", code="invalid_value")
        if "language" in fields and not _LANGUAGE.fullmatch(fields["language"]):
            return _no(400, "Invalid language. Language parameter must be in ISO-639-1 format.", param="language")
        if name.rpartition(".")[2] not in _ENDINGS:
            return _no(400, f"Invalid file format. Supported formats: {list(_ENDINGS)}")
        return None

    def _no_model(self, model: str) -> web.Response | None:
        if model not in self.switches.models:
            text = f"The model `{model}` does not exist or you do not have access to it."
            return _no(404, text, code="model_not_found")
        if not self.switches.credit:
            text = "You exceeded your current quota, please check your plan and billing details."
            return _no(429, text, kind="insufficient_quota", code="insufficient_quota")
        return None

    async def _complete(self, request: web.Request) -> web.Response:
        asked = body_json(await request.read())
        match asked:
            case {"model": str(model), "messages": [*messages, {"role": "user", "content": str(text)}]}:
                pass
            case _:
                return _no(400, "you must provide a model parameter")
        if (refusal := self._no_model(model)) is not None:
            return refusal
        for name in self.switches.refused:
            if name in asked:
                text = f"Unsupported value: '{name}' is not supported with this model."
                return _no(400, text, param=name, code="unsupported_value")
        form = asked.get("response_format", {"type": "text"})["type"]
        if form == "json_object" and "json" not in json.dumps(messages).lower():
            text = (
                "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
            )
            return _no(400, text, param="messages")
        self.chats.append(asked)
        said = self.switches.answers(text)
        return web.json_response(_completion(model, said if isinstance(said, str) else json.dumps(said), self.switches))

    async def _models(self, request: web.Request) -> web.Response:
        listed = [{"id": id, "object": "model", "created": 0, "owned_by": "sandbox"} for id in self.switches.models]
        return web.json_response({"object": "list", "data": listed})


def _transcription(text: str, seconds: float, fields: Mapping[str, str], language: str) -> dict[str, Any]:
    if fields.get("response_format") == "verbose_json":
        segment = {"id": 0, "seek": 0, "start": 0.0, "end": seconds, "text": text, "tokens": [], "temperature": 0.0}
        return {
            "task": "transcribe",
            "language": language,
            "duration": seconds,
            "text": text,
            "segments": [segment | {"avg_logprob": -0.3, "compression_ratio": 1.1, "no_speech_prob": 0.01}],
            "usage": {"type": "duration", "seconds": round(seconds)},
        }
    if fields["model"].startswith("whisper"):
        return {"text": text, "usage": {"type": "duration", "seconds": round(seconds)}}
    details = {"audio_tokens": 14, "text_tokens": 0}
    usage = {"type": "tokens", "input_tokens": 14, "input_token_details": details, "output_tokens": 45}
    return {"text": text, "usage": usage | {"total_tokens": 59}}


def _completion(model: str, content: str, switches: Switches) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": None}
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": switches.finish}],
        "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
    }


def _worded(fault: Fault) -> web.Response:
    """The faults that OpenAI words in its own way."""
    if fault.kind == "limited":
        headers = {"Retry-After": fault.retry_after} if fault.retry_after is not None else None
        text = "Rate limit reached for requests"
        return _no(fault.status or 429, text, kind="requests", code="rate_limit_exceeded", headers=headers)
    if fault.kind == "bad_token":
        return _wrong_key()
    status = fault.status or 500
    kind = "server_error" if status >= 500 else _WRONG
    text = fault.message or "The server had an error while processing your request."
    return _no(status, text, kind=kind, code=fault.code)


def _wrong_key() -> web.Response:
    return _no(401, "Incorrect API key provided: sk-…", code="invalid_api_key")


def _no(
    status: int,
    text: str,
    *,
    kind: str = _WRONG,
    param: str | None = None,
    code: int | str | None = None,
    headers: Any = None,
) -> web.Response:
    error = {"message": text, "type": kind, "param": param, "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)
