"""What Chat Completions answers hold beside text and calls: images, sound, sources, sealed reasoning."""

from __future__ import annotations

import base64
from typing import Any

from llmgine.providers.contracts import AudioPart, Citation, ImagePart

_SOUNDS = (
    (b"RIFF", "audio/wav"),
    (b"ID3", "audio/mpeg"),
    (b"\xff\xfb", "audio/mpeg"),
    (b"\xff\xf3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
    (b"OggS", "audio/ogg"),
)
_RAW_SOUND = "audio/pcm"  # the one form that is streamed, and it has no head


class Sound:
    """Spoken output as it grows."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._words: list[str] = []
        self._data: dict[str, Any] = {}

    def read(self, piece: dict[str, Any]) -> None:
        self._pieces.append(str(piece.get("data") or ""))
        self._words.append(str(piece.get("transcript") or ""))
        for name in piece.keys() - {"data", "transcript"}:
            self._data[name] = piece[name]

    def part(self) -> AudioPart:
        """The sound so far; bytes that cannot be read are left out, their text is kept."""
        data = self._data
        try:
            sound = _decoded(self._pieces)
        except ValueError:
            sound, data = b"", {**data, "data": "".join(self._pieces)}
        kind = next((kind for head, kind in _SOUNDS if sound.startswith(head)), _RAW_SOUND)
        words = "".join(self._words)
        return AudioPart(data=sound, media_type=kind, transcript=words or None, provider_data=data)


def image_of(block: Any) -> ImagePart | None:
    """The image of an `image_url` block; None where it is none."""
    url = block.get("image_url") if isinstance(block, dict) else None
    if isinstance(url, dict):
        url = url.get("url")
    if not isinstance(url, str) or not url:
        return None
    head, comma, text = url.partition(";base64,")
    if not (comma and head.startswith("data:")):
        return ImagePart(url=url)
    try:
        return ImagePart(data=base64.b64decode(text, validate=True), media_type=head.removeprefix("data:"))
    except ValueError:
        return None


def citation_of(annotation: dict[str, Any]) -> Citation:
    """An annotation of a text; what it says in another form stays in `raw`."""
    told = annotation.get(str(annotation.get("type")))
    source: dict[str, Any] = told if isinstance(told, dict) else {}
    return Citation(
        url=_string(source.get("url")),
        title=_string(source.get("title")) or _string(source.get("filename")),
        quote=_string(source.get("content")),
        start=_number(source.get("start_index")),
        end=_number(source.get("end_index")),
        raw=annotation,
    )


def merge_details(held: list[dict[str, Any]], details: list[dict[str, Any]]) -> None:
    """Reasoning details as whole items: pieces of one index and type are joined."""
    for detail in details:
        last = held[-1] if held else None
        same = last is not None and all(last.get(name) == detail.get(name) for name in ("type", "index"))
        if last is None or not same:
            held.append(dict(detail))
            continue
        for name, value in detail.items():
            if name in ("text", "summary", "data") and isinstance(value, str):
                last[name] = (last.get(name) or "") + value
            elif value is not None:
                last[name] = value


def _decoded(pieces: list[str]) -> bytes:
    """Bytes of base64 text that was cut anywhere, or encoded piece by piece."""
    if all(len(piece) % 4 == 0 for piece in pieces):
        return b"".join(base64.b64decode(piece, validate=True) for piece in pieces)
    return base64.b64decode("".join(pieces), validate=True)


def _string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: Any) -> int | None:
    return value if type(value) is int else None
