"""The page on which people compare responses: server-rendered forms, and a little JavaScript that saves time.

Who comes with the token of the link gets a session, a signed cookie. Every form carries the session's CSRF token. Text
of a model or a person is escaped, and its unseen characters are marked (jokbo.labelling.showing).
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jinja2
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.middleware.sessions import SessionMiddleware

from jokbo.labelling import agreement, queue, store
from jokbo.labelling.forms import (
    CHARACTERS,
    NAME_CHARACTERS,
    Draft,
    Fields,
    Refused,
    answer_of,
    chosen,
    name_of,
    sent,
)
from jokbo.labelling.queue import EDITABLE, Place, Queue
from jokbo.labelling.showing import visible
from jokbo.labelling.words import LANGUAGES, REASONS, WORDS
from jokbo.preferences.batch import Batch

HERE = Path(__file__).parent
FILES = {"label.css": "text/css", "label.js": "text/javascript"}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",  # the link has the token
    "Cache-Control": "no-store",
}
AHEAD = "X-Ahead"  # the item that the browser has loaded already


@dataclass(frozen=True)
class Desk:
    """What a page serves, and to whom."""

    batch: Batch
    queue: Queue
    token: str  # of the link
    secret: str  # by which sessions are signed
    cookie: str = "jokbo_label"
    finished: Callable[[], None] = lambda: None  # called when the last label is in


def application(desk: Desk) -> FastAPI:
    """Return the page as an application for a server."""
    app = FastAPI(openapi_url=None)
    app.state.desk = desk
    loader = jinja2.FileSystemLoader(HERE)
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    templates.filters["visible"] = visible
    app.state.templates = templates
    app.add_middleware(SessionMiddleware, secret_key=desk.secret, session_cookie=desk.cookie, same_site="lax")
    app.middleware("http")(_with_headers)
    app.exception_handler(Refused)(_refused)
    app.exception_handler(SQLAlchemyError)(_not_stored)
    app.exception_handler(HTTPException)(_lost)
    app.get("/file/{name}")(file)
    app.get("/")(ask)
    app.get("/ahead/{item}")(ahead)
    app.get("/edit/{item}")(edit)
    app.get("/mine")(mine)
    app.post("/language")(speak)
    app.post("/join")(join)
    app.post("/leave")(leave)
    app.post("/vote")(vote)
    app.post("/undo")(undo)
    return app


def desk_of(request: Request) -> Desk:
    """Return what is served, to whoever has come by the link."""
    desk: Desk = request.app.state.desk
    session = request.session
    if secrets.compare_digest(request.query_params.get("token", "").encode(), desk.token.encode()):
        session["entered"] = desk.token
        session.setdefault("csrf", secrets.token_urlsafe())
    if session.get("entered") != desk.token:
        raise Refused("link", 403)
    return desk


AtDesk = Annotated[Desk, Depends(desk_of)]
Sent = Annotated[Fields, Depends(sent)]


def file(name: str) -> Response:
    if name not in FILES:
        raise HTTPException(404)
    return FileResponse(HERE / name, media_type=FILES[name])


def ask(request: Request, desk: AtDesk) -> Response:
    """Show the item that is to be answered, or the form for a name, or that there is nothing left."""
    if "token" in request.query_params:
        return _to("/")  # so that the token is not in the address bar
    person = request.session.get("person")
    if person is None:
        return _page(request, "join", taken=None, problem="")
    place = queue.take(desk.queue, person)
    return _done(request, desk, person) if place is None else _item(request, place)


def ahead(request: Request, desk: AtDesk, item: str) -> Response:
    """Show the page that comes after this item, so that a browser has it before it is asked for."""
    person = _person(request)
    place = queue.take(desk.queue, person, beside=item)
    if place is None:
        return Response(status_code=204)
    return _item(request, place, before=item)


def vote(request: Request, desk: AtDesk, fields: Sent) -> Response:
    """Store an answer, and then show the next item."""
    person, item = _person(request), fields.get("item", "")
    place = queue.place(desk.queue, person, item)
    if place is None:
        raise Refused("unknown", 409)
    replaces = int(number) if (number := fields.get("replaces", "")).isdecimal() else None
    try:
        given = answer_of(fields, place)
    except Refused as refused:
        return _item(request, place, refused=refused, replaces=replaces)
    found = queue.answer(desk.queue, person, item, given, replaces)
    if found not in ("stored", "repeated"):
        raise Refused(found, 409)
    if replaces is not None:
        return _to("/mine")
    if not queue.progress(desk.queue).missing:
        desk.finished()
    if wanted := request.headers.get(AHEAD):
        following = queue.take(desk.queue, person)
        if following and following.item.id == wanted:
            return Response(status_code=204)
    return _to("/")


def undo(request: Request, desk: AtDesk, fields: Sent) -> Response:
    """Take an answer back, and show its item again."""
    if queue.withdraw(desk.queue, _person(request), fields.get("item", "")) == "unknown":
        raise Refused("unknown", 409)
    return _to("/")


def edit(request: Request, desk: AtDesk, item: str) -> Response:
    """Show an answer of the person's last ones, to be changed."""
    person = _person(request)
    found = [each for each in queue.recent(desk.queue, person) if each.item == item]
    place = queue.place(desk.queue, person, item)
    if not found or place is None:
        raise Refused("unknown", 409)
    return _item(request, place, draft=Draft.of_vote(found[0]), replaces=found[0].number)


def mine(request: Request, desk: AtDesk) -> Response:
    """Show the person's last answers, and how far they agree with the others."""
    person = _person(request)
    rows = agreement.people(store.all_votes(desk.queue.engine, batch=desk.queue.batch), {})
    own = next((row for row in rows if row.name == person), None)
    answers = [(each, chosen(each)) for each in queue.recent(desk.queue, person, EDITABLE)]
    return _page(request, "mine", answers=answers, own_row=own, progress=queue.progress(desk.queue, person))


def join(request: Request, desk: AtDesk, fields: Sent) -> Response:
    """Take the person's pseudonym."""
    name = name_of(fields.get("name", ""))
    if name is None:
        return _page(request, "join", 422, taken=None, problem="name_wrong")
    if not store.join(desk.queue.engine, name) and not fields.get("again"):
        return _page(request, "join", 409, taken=name, problem="name_taken")
    request.session["person"] = name
    return _to("/")


def leave(request: Request, desk: AtDesk, fields: Sent) -> Response:
    """Forget the person's pseudonym in this browser."""
    request.session.pop("person", None)
    return _to("/")


def speak(request: Request, desk: AtDesk, fields: Sent) -> Response:
    """Speak another language from here on."""
    if fields.get("language") in LANGUAGES:
        request.session["language"] = fields["language"]
    return _to("/")


def _item(
    request: Request,
    place: Place,
    *,
    draft: Draft | None = None,
    replaces: int | None = None,
    refused: Refused | None = None,
    before: str | None = None,
) -> HTMLResponse:
    """Return the page of an item. before: the item whose answer will be in when this page is looked at."""
    person, desk = _person(request), request.app.state.desk
    last = queue.recent(desk.queue, person, 1)
    return _page(
        request,
        "item",
        refused.status if refused else 200,
        item=place.item,
        texts=[place.item.responses[index] for index in place.shown],
        draft=draft or Draft.of_fields(_typed(request)),
        replaces=replaces,
        refused=refused,
        undo=before or (last[0].item if last else None),
        progress=queue.progress(desk.queue, person, coming=before),
    )


def _done(request: Request, desk: Desk, person: str) -> HTMLResponse:
    last = queue.recent(desk.queue, person, 1)
    found = queue.progress(desk.queue, person)
    return _page(request, "done", progress=found, undo=last[0].item if last else None)


def _page(request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page in the language of the session, or else of the browser."""
    session, desk = request.session, request.app.state.desk
    browsers = "ko" if request.headers.get("accept-language", "").lower().startswith("ko") else "en"
    language = session.get("language", browsers)
    page = request.app.state.templates.get_template(f"{name}.html.jinja").render(
        words=WORDS[language],
        language=language,
        languages=LANGUAGES,
        csrf=session.get("csrf", ""),
        person=session.get("person"),
        batch=desk.batch,
        reasons=REASONS,
        most=CHARACTERS,
        name_characters=NAME_CHARACTERS,
        **values,
    )
    # half a character, as JSON can hold it, is none of UTF-8; what is shown of texts marks it before
    return HTMLResponse(page.encode("utf-8", "replace"), status)


def _person(request: Request) -> str:
    person = request.session.get("person")
    if person is None:
        raise Refused("link", 403)
    return person


def _to(path: str) -> RedirectResponse:
    return RedirectResponse(path, 303)


def _refused(request: Request, refused: Exception) -> Response:
    assert isinstance(refused, Refused)
    wrote = {name: _typed(request).get(name, "") for name in ("note", "better")}
    return _page(request, "problem", refused.status, refused=refused, wrote=wrote)


def _lost(request: Request, error: Exception) -> Response:
    return _refused(request, Refused("lost", getattr(error, "status_code", 404)))


def _not_stored(request: Request, error: Exception) -> Response:
    print(f"jokbo: label: the database refuses something: {str(error).partition(chr(10))[0]}", flush=True)
    return _refused(request, Refused("store", 503))


def _typed(request: Request) -> Fields:
    """Return the fields of the form that is being answered; none if there is none."""
    return getattr(request.state, "fields", {})


async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(HEADERS)
    return response
