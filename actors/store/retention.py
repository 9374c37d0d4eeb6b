"""How much is kept of what grows, and how long; times are nanoseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Code that no session refers to may be on its way to one for so long.
CODE_AGE: Final = 3_600 * 1_000_000_000


@dataclass(frozen=True, slots=True)
class Retention:
    """`turns` newest finished turns, and as many answered approvals, of each session; None is for ever.

    Of models' answers the newest `responses`, and no more than `response_bytes` of them.
    """

    turns: int = 1_000
    turn_age: int | None = None
    session_age: int | None = None
    responses: int = 10_000
    response_bytes: int = 256 << 20


KEEP_ALL: Final = Retention()
