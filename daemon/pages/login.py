"""Logging in, by name and password or by a link that works once; and logging out."""

from __future__ import annotations

from aiohttp import web

from daemon.operator import logins
from daemon.operator.faults import Unusable
from daemon.operator.logins import LinkEnded, MustWait, Wrong
from daemon.operator.passwords import TooMany
from daemon.pages.rendering import span
from daemon.pages.visit import Visit


async def page(visit: Visit) -> web.Response:
    """The form; whoever has logged in goes on."""
    to = visit.safe_next(visit.request.query.get("next", "/"))
    return visit.see(to) if visit.session else visit.page("login.html", next=to, wrong="", name="")


async def log_in(visit: Visit) -> web.Response:
    """Begin a session."""
    form = await visit.form()
    name, to = form.get("name", ""), visit.safe_next(form.get("next", "/"))
    try:
        token = await logins.log_in(visit.pool, visit.frame.passwords, name, form.get("password", ""), visit.browser)
    except Wrong as exc:
        return visit.page("login.html", status=422, next=to, wrong=f"{exc}.", name=name[:100])
    except MustWait as exc:
        wrong = f"Too many tries: wait {span(exc.seconds + 1)} before the next one."
        return _later(visit.page("login.html", status=429, next=to, wrong=wrong, name=name[:100]), exc.seconds)
    except TooMany:
        return _later(visit.error(503, "Too many people log in just now: try again."), 2)
    await _end_before(visit)
    answer = visit.see(to)
    visit.log_in(answer, token)
    return answer


async def log_out(visit: Visit) -> web.Response:
    """End the session."""
    assert visit.session is not None
    await logins.log_out(visit.pool, visit.session, visit.token)
    answer = visit.see("/login")
    visit.log_out(answer)
    return answer


async def link(visit: Visit) -> web.Response:
    """What a link leads to: a button that logs in, or the form of the first operator. Looking at it changes nothing, as
    programs look at links too."""
    try:
        first = await logins.link_makes_first(visit.read, visit.request.match_info["token"])
    except LinkEnded as exc:
        return visit.error(410, f"{exc}. Log in by name and password, or have another link made.")
    return visit.page("link.html", first=first, wrong="", name="")


async def follow(visit: Visit) -> web.Response:
    """Log in by the link, or make the first operator."""
    token, form = visit.request.match_info["token"], await visit.form()
    try:
        if await logins.link_makes_first(visit.read, token):
            name, password = form.get("name", ""), form.get("password", "")
            session = await logins.make_first(visit.pool, visit.frame.passwords, token, name, password, visit.browser)
        else:
            session = await logins.follow(visit.pool, token, visit.browser)
    except LinkEnded as exc:
        return visit.error(410, f"{exc}. Log in by name and password, or have another link made.")
    except Unusable as exc:
        return visit.page("link.html", status=422, first=True, wrong=f"{exc}.", name=form.get("name", "")[:100])
    except TooMany:
        return _later(visit.error(503, "Too many people log in just now: try again."), 2)
    await _end_before(visit)
    answer = visit.see("/")
    visit.log_in(answer, session)
    return answer


async def _end_before(visit: Visit) -> None:
    """End the session that the browser had before: nobody is logged in twice in one browser."""
    if visit.session is not None:
        await logins.log_out(visit.pool, visit.session, visit.token)


def _later(answer: web.Response, seconds: float) -> web.Response:
    answer.headers["Retry-After"] = str(int(seconds) + 1)
    return answer
