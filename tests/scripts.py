"""What the scripted models of the tests say, each under the name that sessions ask for.

The runtime that tests share on Ray has all of them, so that a file needs none of its own there.
"""

from __future__ import annotations

from typing import Any

_BREAKS_ONCE = {"kind": "connection", "after_chunks": 1, "times": 1, "retry_after": 0}
_LOOKS_AROUND = [
    {"name": name, "arguments": arguments}
    for name, arguments in (("look", {"place": "cellar"}), ("apart", {}), ("far", {}))
]

# Sixty words, one each fiftieth of a second.
STORY = " ".join(str(number) for number in range(60))

SCRIPTS: dict[str, Any] = {
    "stall": {"replies": [{"text": "so far", "fault": {"kind": "stall", "after_chunks": 1}}]},
    "fail": {"replies": [{"fault": {"kind": "overloaded", "status": 529}}]},
    "breaks-once": {"replies": [{"text": "one two", "fault": _BREAKS_ONCE}]},
    "fits-at-last": {"replies": [{"text": "no JSON"}, {"text": '{"count": 2}'}]},
    "guide": {"replies": [{"tool_calls": _LOOKS_AROUND}, {"text": "It is in the cellar."}]},
    "story": {"replies": [{"text": STORY, "delay": 0.02}]},
    # Calls both tools, waits a little, and then says what they returned.
    "torture": {
        "replies": [
            {"tool_calls": [{"name": "act"}, {"name": "look"}], "first_delay": 0.02},
            {"first_delay": 0.02, "delay": 0.01},
        ],
        "after_last": "cycle",
    },
    "works": {"replies": [{"tool_calls": [{"name": "work", "arguments": {}}]}, {"text": "done"}]},
}
