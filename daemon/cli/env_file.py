"""`--env-file FILE`, which every verb has: the settings of a file, as the daemon's unit reads it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from daemon.cli import context

EnvFile: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--env-file",
        exists=True,
        dir_okay=False,
        readable=True,
        metavar="FILE",
        help="Settings of this file, before those of this shell; `.env` is not read.",
    ),
]

_NAME: Final = "env_file"


def with_env_file(verb: Callable[..., Any]) -> Callable[..., Any]:
    """*verb* with the option; `context.read_settings` goes by it. A verb that has it already stays as it is."""
    signature = inspect.signature(verb, eval_str=True)
    if _NAME in signature.parameters:
        return verb

    @wraps(verb)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        context.env_file.set(kwargs.pop(_NAME, None))
        return verb(*args, **kwargs)

    option = inspect.Parameter(_NAME, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=EnvFile)
    both: Any = wrapped
    both.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])
    both.__annotations__ = {**verb.__annotations__, _NAME: EnvFile}
    return wrapped
