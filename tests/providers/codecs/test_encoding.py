"""What the encoders of all protocols share."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.encoding import CallIds, Encoding
from llmgine.providers.contracts import AudioPart, ImagePart, LLMRequest, MediaPart, Message
from llmgine.providers.errors import InvalidRequest


def test_an_id_that_always_comes_again_costs_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a server gave one id, each call gets its own without trying all those before it."""
    tried = 0
    fit = CallIds._fit

    def counted(self: CallIds, call_id: str) -> Any:
        nonlocal tried
        tried += 1
        return fit(self, call_id)

    monkeypatch.setattr(CallIds, "_fit", counted)
    ids = CallIds(r"[a-z]+", 64)
    sent = [ids.call("call") for _ in range(300)]
    assert len(set(sent)) == 300
    assert sent[0] == "call"
    assert ids.result("call") == sent[-1]
    assert tried < 1000


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (ImagePart(data=b""), "the image has no bytes"),
        (AudioPart(data=b""), "the audio has no bytes"),
        (ImagePart(url="/home/me/a.png"), "bytes go into data"),
        (ImagePart(url="a.png"), "bytes go into data"),
    ],
)
def test_a_medium_that_is_none_is_refused(part: MediaPart, said: str) -> None:
    """A user's medium without bytes, or behind a path, is refused before anything is sent."""
    request = LLMRequest(model="p/m", messages=(Message.user("see", part),))
    with pytest.raises(InvalidRequest, match=said):
        Encoding(request, Target("p", "m"), "openai-chat").check()
