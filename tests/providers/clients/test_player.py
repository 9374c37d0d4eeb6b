"""The client that answers from recordings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmgine.providers.clients import Call, Site
from llmgine.providers.clients.player import Player
from llmgine.providers.errors import ProviderError
from llmgine.providers.options import Timeouts

URL = "https://h/v1/chat/completions"


async def test_mended_recordings_are_read_at_the_next_call(tmp_path: Path) -> None:
    """A folder that could not be read is tried anew, without opening the provider again."""
    player = Player(Site("openai-chat", None, None, replay=tmp_path / "tapes"))
    call = Call("m", b'{"model": "m"}', {}, Timeouts())
    with pytest.raises(ProviderError, match="cannot be read"):
        await player.send(call)
    (tmp_path / "tapes").mkdir()
    interaction = {"url": URL, "request": {"model": "m"}, "status": 200, "body": "yes"}
    (tmp_path / "tapes" / "one.json").write_text(json.dumps({"interactions": [interaction]}))
    assert [chunk async for chunk in (await player.send(call)).chunks()] == [b"yes"]
    await player.aclose()
