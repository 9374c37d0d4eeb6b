"""Where a piece of work stands in a trace, and how that crosses processes.

Between our own processes it travels as 25 bytes; at the edges it enters and leaves as the W3C
`traceparent` header, so that spans of users' own tracing join ours.
"""

from __future__ import annotations

import os
import random
import re
from math import log1p
from typing import NamedTuple

WIRE_SIZE = 25
SAMPLED = 1
RANDOM_BITS = 56  # of a trace id, by the W3C's second level of trace contexts

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)

# A generator of our own: `random.seed(0)` in user code must not make two processes draw the same ids.
_generator = random.Random()
os.register_at_fork(after_in_child=_generator.seed)
random_bits = _generator.getrandbits


class TraceContext(NamedTuple):
    """One span's place: its trace, its own id, and the W3C flags (bit 0: sampled)."""

    trace_id: int
    span_id: int
    flags: int = SAMPLED

    @classmethod
    def new(cls, *, sampled: bool = True) -> TraceContext:
        """The root of a new trace."""
        return cls(random_bits(128) or 1, random_bits(64) or 1, SAMPLED if sampled else 0)

    @property
    def sampled(self) -> bool:
        return bool(self.flags & SAMPLED)

    @property
    def traceparent(self) -> str:
        """The W3C header, version 00."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{self.flags:02x}"

    @classmethod
    def parse(cls, header: str | None) -> TraceContext | None:
        """The context in a `traceparent` header; None where W3C says that the header is to be ignored.

        A later version than 00 is read by its first four fields, as the recommendation asks.
        """
        found = _TRACEPARENT.fullmatch(header.strip()) if header else None
        if found is None:
            return None
        version, trace, span, flags, rest = found.groups()
        if version == "ff" or (version == "00" and rest):
            return None
        trace_id, span_id = int(trace, 16), int(span, 16)
        if not trace_id or not span_id:
            return None
        return cls(trace_id, span_id, int(flags, 16))

    def to_wire(self) -> bytes:
        """25 bytes: trace id, span id, flags; big-endian."""
        return (self.trace_id << 72 | self.span_id << 8 | self.flags).to_bytes(WIRE_SIZE, "big")

    @classmethod
    def from_wire(cls, wire: bytes) -> TraceContext:
        if len(wire) != WIRE_SIZE:
            raise ValueError(f"a trace context has {WIRE_SIZE} bytes, not {len(wire)}")
        return cls(int.from_bytes(wire[:16], "big"), int.from_bytes(wire[16:24], "big"), wire[24])


def next_root(one_in: int) -> tuple[int, TraceContext]:
    """Of roots that each draw an id, how many it takes until one is among that share of ids, and that one.

    The share are the highest ids, which whoever samples by trace id keeps first. So a root that is passed
    over costs no id, and nobody can tell.
    """
    passed_over = log1p(-random_bits(53) / 2**53) / log1p(-1 / one_in) if one_in > 1 else 0
    drawn = 2**RANDOM_BITS - 1 - random_bits(RANDOM_BITS) // one_in
    return 1 + int(passed_over), TraceContext(random_bits(128 - RANDOM_BITS) << RANDOM_BITS | drawn, 0)
