"""Questions as they come over a link, put to an engine; blocking, as engines are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmgine.actors.link import StreamReset
from llmgine.actors.store.coding import row_to_wire
from llmgine.actors.store.engine import Engine
from llmgine.actors.store.operations import SetAside
from llmgine.actors.store.queries import MAX_PAGE_ROWS, ApprovalFilter, LetterFilter, Page, SessionFilter

Answer = tuple[Any, Sequence[SetAside]]


def answer_of(engine: Engine, question: Any) -> Answer:
    """The answer in wire form, and what was found damaged on the way; `StreamReset` for no question."""
    try:
        return _answer(engine, question)
    except TypeError as error:
        raise StreamReset("bad_question", f"{question!r:.200}: {error}") from None


def _answer(engine: Engine, question: Any) -> Answer:
    match question:
        case ["last_message"]:
            return engine.last_message(), ()
        case ["journal", int(after), int(upto), int(limit)]:
            return _page(engine.journal(after, upto, _rows(limit)))
        case ["letters", list(filter), int() | None as before, int(limit)]:
            return _page(engine.letters(LetterFilter.from_wire(filter), before, _rows(limit)))
        case ["letter", str(id)]:
            row = engine.letter(id)
            return (None if row is None else row_to_wire(row)), ()
        case ["count_letters", list(filter)]:
            return engine.count_letters(LetterFilter.from_wire(filter)), ()
        case ["schedules", int(after), int(limit)]:
            return _page(engine.schedules(after, _rows(limit)))
        case ["subscriptions", int(after), int(limit)]:
            return _page(engine.subscriptions(after, _rows(limit)))
        case ["session", str(id)]:
            return _one(engine.sessions.session(id))
        case ["sessions", list(filter), int(after), int(limit)]:
            return _page(engine.sessions.sessions(SessionFilter.from_wire(filter), after, _rows(limit)))
        case ["newest_sessions", list(filter), int() | None as before, int(limit)]:
            wanted = SessionFilter.from_wire(filter)
            return _page(engine.sessions.newest_sessions(wanted, before, _rows(limit)))
        case ["count_sessions", list(filter)]:
            return engine.sessions.count_sessions(SessionFilter.from_wire(filter)), ()
        case ["snapshot", str(session)]:
            return engine.sessions.snapshot(session), ()
        case ["entries", str(session), int(after), int(limit)]:
            found = engine.sessions.entries(session, after, _rows(limit))
            return [found.rows, found.next, found.damage], ()
        case ["turn", str(session), str(id)]:
            return _one(engine.sessions.turn(session, id))
        case ["turns", str(session), int() | None as before, int(limit)]:
            return _page(engine.sessions.turns(session, before, _rows(limit)))
        case ["approval", str(id)]:
            return _one(engine.sessions.approval(id))
        case ["approvals", list(filter), int(after), int(limit)]:
            return _page(engine.sessions.approvals(ApprovalFilter.from_wire(filter), after, _rows(limit)))
        case ["blob", str(hash)]:
            return engine.sessions.blob(hash), ()
        case ["code", str(hash)]:
            return engine.sessions.code(hash), ()
        case ["response", str(key)]:
            kept = engine.response(key)
            return (None if kept is None else row_to_wire(kept)), ()
        case ["note", str(name)]:
            return engine.note(name), ()
        case ["aside", int(limit)]:
            return [[one.kind, one.id, one.reason] for one in engine.aside(_rows(limit))], ()
    raise StreamReset("bad_question", f"the store is not asked {question!r:.200}")


def _page(page: Page[Any]) -> Answer:
    rows = [row if isinstance(row, dict) else row_to_wire(row) for row in page.rows]
    return [rows, page.next], page.damaged


def _one(page: Page[Any]) -> Answer:
    return (row_to_wire(page.rows[0]) if page.rows else None), page.damaged


def _rows(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE_ROWS))
