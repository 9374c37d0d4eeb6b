"""What the store and those who use it say to each other.

Writing is a stream of kind "store"; its header `[instance]` names one life of the writer's client. The
writer numbers its batches from 1 and sends them again, with their numbers, on its next stream where they
were not acknowledged on this one.

Writer to store
  [ticket, [operations]]

Store to writer
  [ACK, ticket]                  every batch up to this one is committed, but those refused before
  [REFUSED, ticket, code, text]  this batch can never be written
  [AWAY, text]                   nothing can be committed now; what was sent waits
  [BACK]                         it can again

Reading is one question on a stream of kind "store.ask", its header, and one answer
  ["last_message"]                     number
  ["journal", after, upto, limit]      [rows, next]
  ["letters", filter, before, limit]   [rows, next]
  ["letter", id]                       row or None
  ["count_letters", filter]            number
  ["schedules", after, limit]          [rows, next]
  ["subscriptions", after, limit]      [records, next]
  ["session", id]                      row or None
  ["sessions", filter, after, limit]   [rows, next]
  ["count_sessions", filter]           number
  ["snapshot", session]                [upto, body] or None
  ["entries", session, after, limit]   [[[number, body]], next, damage]
  ["turn", session, id]                row or None
  ["turns", session, before, limit]    [rows, next]
  ["approval", id]                     row or None
  ["approvals", filter, after, limit]  [rows, next]
  ["blob", hash]                       bytes or None
  ["code", hash]                       bytes or None
  ["response", key]                    row or None, of what is committed when it is asked
  ["note", name]                       bytes or None
  ["aside", limit]                     [[kind, id, reason]]
  ["status"]                           plain values by name
"""

from __future__ import annotations

from typing import Final

STREAM: Final = "store"
ASK: Final = "store.ask"

ACK: Final = 1
REFUSED: Final = 2
AWAY: Final = 3
BACK: Final = 4
