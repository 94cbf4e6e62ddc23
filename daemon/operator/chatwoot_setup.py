"""Sets up the Chatwoot account of the settings: token and inbox are looked at; the webhook is made or put right, and
its secret kept; labels and definitions of attributes are made. What is as it should be is left alone, so a second run
changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from aiohttp import ClientSession

from adapters.chatwoot.setup import ChatwootSetup
from adapters.chatwoot.source import SOURCE
from adapters.conversation_ports import Crm
from adapters.ports import Probe
from adapters.registry import PROBES
from daemon.conversations.labels.rules import LabelRules, Shown
from daemon.operator import labels
from daemon.operator.chatwoot_attributes import define
from daemon.operator.chatwoot_webhook import address, subscribe
from daemon.operator.live import look_at
from daemon.operator.steps import Step
from daemon.operator.webhook_secret import Keeper
from daemon.settings.model import Settings
from schemas.errors import FerrymanError, UsageError

ADMINISTRATOR: Final = (
    "run this once with the access token of an administrator: CHATWOOT_API_ACCESS_TOKEN=… ferryman chatwoot setup"
)
LABELS_WORKER: Final = "crm-labels"
"""The worker that puts labels on conversations; where it is not to run, an account needs none of ours."""

_CLOUD: Final = "see whether the plan has API and webhooks, where it is Chatwoot's own cloud; else "
_NEEDS: Final = ("chatwoot_base_url", "chatwoot_api_access_token", "chatwoot_account_id", "ferryman_public_url")


def lacking(settings: Settings) -> list[str]:
    """The settings that the set-up needs and that are not there."""
    return [name.upper() for name in _NEEDS if getattr(settings, name) is None]


def require(settings: Settings) -> None:
    """Raises: UsageError where settings are lacking."""
    if lacks := lacking(settings):
        are = "are" if len(lacks) > 1 else "is"
        where = "deploy/README.md says what to enter, under Connect Chatwoot"
        raise UsageError(f"{', '.join(lacks)} {are} not set: {where}")


async def set_up(
    session: ClientSession, settings: Settings, rules: LabelRules, crm: Crm, keeper: Keeper, *, dry_run: bool
) -> AsyncIterator[Step]:
    """The steps, each when it is done. *crm*: the same account. *dry_run*: nothing is changed, and what would be is
    `planned`. A part that fails is an `error`; the others go on where they can."""
    looked = await look_at(session, _probe(), settings)
    for finding in looked.findings:
        yield Step("account", finding.level, finding.text, finding.do)
    if not looked.works:
        return
    calls = _calls(session, settings)
    try:
        role = await calls.role()
    except FerrymanError as error:
        yield _failed("account", error)
        return
    if role not in ("", "administrator"):
        text = f"the token's owner is in the account as {role}, and webhooks and labels take an administrator"
        yield Step("account", "error", text, ADMINISTRATOR)
        return
    url, unsigned = address(settings.ferryman_public_url or ""), SOURCE.name in settings.ferryman_allow_unsigned
    parts = [("webhook", subscribe(calls, url, keeper, unsigned=unsigned, dry_run=dry_run))]
    labelled = not settings.ferryman_workers or LABELS_WORKER in settings.ferryman_workers
    if labelled:
        parts.append(("labels", _labels(crm, rules.catalog(), dry_run=dry_run)))
        parts.append(("attributes", define(calls, rules, dry_run=dry_run)))
    for part, steps in parts:
        try:
            async for step in steps:
                yield step
        except FerrymanError as error:
            yield _failed(part, error)
    if not labelled:
        yield Step("labels", "ok", f"none are made: FERRYMAN_WORKERS does not name {LABELS_WORKER}")


async def _labels(crm: Crm, wanted: list[Shown], *, dry_run: bool) -> AsyncIterator[Step]:
    made = await labels.create(crm, wanted, dry_run=dry_run)
    new, of = sum(one.state == "new" for one in made), f"of the {len(made)} of labels.toml"
    if not new:
        yield Step("labels", "ok", f"the {len(made)} of labels.toml are there")
    else:
        yield (
            Step("labels", "planned", f"{new} {of} would be made") if dry_run else Step("labels", "made", f"{new} {of}")
        )


def _probe() -> Probe:
    return next(one for one in PROBES() if one.system == SOURCE.name)


def _calls(session: ClientSession, settings: Settings) -> ChatwootSetup:
    token, url = settings.chatwoot_api_access_token, settings.chatwoot_base_url
    assert token is not None
    assert url is not None
    number = str(settings.chatwoot_account_id)
    return ChatwootSetup(session, url=url, token=token.get_secret_value(), account_id=number)


def _failed(part: str, error: FerrymanError) -> Step:
    match error.code:
        case "http-401":
            do = ADMINISTRATOR
        case "http-403":
            do = _CLOUD + ADMINISTRATOR
        case _:
            do = "run this again: what is there already is left alone"
    return Step(part, "error", error.full_text, do)
