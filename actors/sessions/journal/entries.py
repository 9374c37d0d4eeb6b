"""Records as they are kept: JSON with a kind and a version, readable for every later version.

A kind whose fields change gets a new version and an upcaster from the one before; what is read is
brought up step by step. What this version cannot read is `Unreadable`; a kind that it does not know is
`UnknownKind`, and what follows it still holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from llmgine.actors.sessions.journal import records
from llmgine.actors.sessions.journal.blobs import put_back, take_out
from llmgine.actors.sessions.journal.records import JournalRecord
from llmgine.providers.errors import InvalidRequest

Fields = dict[str, Any]
Upcaster = Callable[[Fields], Fields]

# By kind and version: what makes of such an entry one of the next version.
UPCASTERS: Final[Mapping[tuple[str, int], Upcaster]] = {}

_KINDS: Final[dict[str, type[Any]]] = {
    "turn_queued": records.TurnQueued,
    "turn_began": records.TurnBegan,
    "cancel_asked": records.CancelAsked,
    "steer_asked": records.SteerAsked,
    "steer_read": records.SteerRead,
    "context_changed": records.ContextChanged,
    "model_called": records.ModelCalled,
    "streamed": records.Streamed,
    "model_answered": records.ModelAnswered,
    "tool_began": records.ToolBegan,
    "tool_ended": records.ToolEnded,
    "tools_answered": records.ToolsAnswered,
    "approval_asked": records.ApprovalAsked,
    "approval_answered": records.ApprovalAnswered,
    "wait_began": records.WaitBegan,
    "wait_ended": records.WaitEnded,
    "turn_ended": records.TurnEnded,
}
_VERSIONS: Final[dict[str, int]] = dict.fromkeys(_KINDS, 1)
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}
_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {}


class Unreadable(ValueError):
    """The entry cannot be understood here; the text is the reason."""


class UnknownKind(Unreadable):
    """A later version wrote it; what it says is passed over."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as it is kept, and the large parts that are kept beside it."""

    body: bytes
    blobs: Mapping[str, bytes]


def write_entry(record: JournalRecord, blob_bytes: int) -> Entry:
    """The record's entry; texts and media above `blob_bytes` are beside it."""
    kind = _NAMES[type(record)]
    head = f'{{"v":{_VERSIONS[kind]},"kind":"{kind}",'.encode()
    body = head + _adapter(kind).dump_json(record)[1:]
    if len(body) <= blob_bytes:
        return Entry(body, {})
    fields, places, blobs = take_out(json.loads(body), blob_bytes)
    if not places:
        return Entry(body, {})
    return Entry(json.dumps({**fields, "blobs": places}).encode(), blobs)


def blobs_of(body: bytes) -> list[str]:
    """The hashes of what is kept beside an entry; none for what is no entry."""
    if b'"blobs"' not in body:
        return []
    try:
        return [name for _, name in json.loads(body).get("blobs", ())]
    except (ValueError, TypeError, AttributeError):
        return []


def read_entry(
    body: bytes,
    blobs: Mapping[str, bytes],
    upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS,
) -> JournalRecord:
    """The record that an entry of this or an earlier version holds; `Unreadable` with the reason else."""
    try:
        fields: Fields = json.loads(body)
        kind, version = str(fields["kind"]), int(fields["v"])
    except (ValueError, TypeError, KeyError) as error:
        raise Unreadable(f"it is no entry of a session: {error}") from None
    if kind not in _KINDS:
        raise UnknownKind(f"it is of a kind that this version does not know: {kind!r}")
    try:
        places = fields.pop("blobs", [])
        put_back(fields, places, blobs)
        changed = bool(places)
        while version < _VERSIONS[kind]:
            fields = upcasters[kind, version](fields)
            version, changed = version + 1, True
        if version > _VERSIONS[kind]:
            raise Unreadable(f"it is a {kind!r} of version {version}, and this one knows {_VERSIONS[kind]}")
        record: JournalRecord = _adapter(kind).validate_json(json.dumps(fields) if changed else body)
        return record
    except ValidationError as error:
        # Without what was given: that may be a prompt.
        said = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise Unreadable(f"it is no {kind!r}: {said}") from None
    except (LookupError, TypeError, ValueError, InvalidRequest) as error:
        if isinstance(error, Unreadable):
            raise
        raise Unreadable(f"it is a damaged {kind!r}: {type(error).__name__}: {error}") from None


def all_blobs(bodies: Iterable[bytes]) -> list[str]:
    """The hashes of what is kept beside these entries, each once."""
    return list(dict.fromkeys(name for body in bodies for name in blobs_of(body)))


def _adapter(kind: str) -> TypeAdapter[Any]:
    adapter = _ADAPTERS.get(kind)
    if adapter is None:
        adapter = _ADAPTERS[kind] = TypeAdapter(_KINDS[kind])
    return adapter
