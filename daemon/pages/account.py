"""One's own account: the password, and the zone of times."""

from __future__ import annotations

from aiohttp import web

from daemon.operator import logins
from daemon.operator.faults import Unusable
from daemon.operator.logins import MustWait, Wrong
from daemon.operator.passwords import TooMany
from daemon.pages.rendering import span, zone_named
from daemon.pages.visit import ZONE_COOKIE, Visit

_YEAR_S = 365 * 86_400


async def page(visit: Visit) -> web.Response:
    """The form of a new password, and one's sessions."""
    return await _shown(visit)


async def password(visit: Visit) -> web.Response:
    """Change it. Every other session of the same operator ends."""
    assert visit.session is not None
    form = await visit.form()
    old, new = form.get("old", ""), form.get("new", "")
    try:
        token = await logins.own_password(visit.pool, visit.frame.passwords, visit.session, old, new, visit.browser)
    except Wrong:
        return await _shown(visit, 422, "The old password is not right.")
    except MustWait as exc:
        return await _shown(visit, 429, f"Too many tries: wait {span(exc.seconds + 1)}.")
    except Unusable as exc:
        return await _shown(visit, 422, f"{exc}.")
    except TooMany:
        return visit.error(503, "Too many people log in just now: try again.")
    visit.token = token
    answer = visit.see("/account", "The password is changed. Your other sessions have ended.")
    visit.log_in(answer, token)
    return answer


async def end_others(visit: Visit) -> web.Response:
    """End one's sessions in other browsers."""
    assert visit.session is not None
    await logins.end_others(visit.pool, visit.session, visit.token)
    return visit.see("/account", "Your other sessions have ended.")


async def zone(visit: Visit) -> web.Response:
    """Show times in another zone from now on."""
    form = await visit.form()
    answer = visit.see(visit.safe_next(form.get("back", "/")))
    name = zone_named(form.get("zone", "")).key
    answer.set_cookie(ZONE_COOKIE, name, path="/", samesite="Lax", max_age=_YEAR_S, httponly=True)
    return answer


async def _shown(visit: Visit, status: int = 200, wrong: str = "") -> web.Response:
    assert visit.session is not None
    own = await logins.own_sessions(visit.read, visit.session, visit.token)
    return visit.page("account.html", status=status, wrong=wrong, sessions=own)
