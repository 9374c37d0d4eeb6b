"""All recordings of a folder, and which of them answers a request."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError
from llmgine.providers.recording.interaction import Interaction, read_recording
from llmgine.providers.recording.matching import Route, fingerprint, first_difference, likeness, route_of

_Place = tuple[str, Interaction]  # the file's name, and what stands in it


class Shelf:
    """Gives equal requests their recorded answers in the order of recording; the last one repeats."""

    def __init__(self, name: str, places: Iterable[_Place]) -> None:
        self._name = name
        self._places: dict[Route, list[_Place]] = {}
        self._answers: dict[tuple[Route, str], list[Interaction]] = {}
        for place in sorted(places, key=lambda place: place[1].time):
            interaction = place[1]
            if interaction.url and interaction.request is not None:
                route = route_of(interaction.url)
                self._places.setdefault(route, []).append(place)
                key = route, fingerprint(interaction.request)
                self._answers.setdefault(key, []).append(interaction)

    @classmethod
    def read(cls, path: Path) -> Shelf:
        """The recordings of one file, or of all JSON files in a folder and those below it."""
        try:
            files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
            return cls(str(path), [(file.name, one) for file in files for one in read_recording(file)])
        except (OSError, ValueError) as error:
            raise _refused(f"the recordings cannot be read: {error}") from None

    async def take(self, route: Route, body: Any) -> Interaction:
        """The answer to a request; a `ProviderError` that tells the nearest one where there is none."""
        answers = self._answers.get((route, fingerprint(body)))
        if answers is None:
            # In a thread: comparing with thousands of recordings takes seconds.
            raise _refused(await asyncio.to_thread(self._nearest, route, body))
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _nearest(self, route: Route, body: Any) -> str:
        places = self._places.get(route)
        if not places:
            routes = ", ".join(sorted(map(str, self._places))) or "nothing"
            return f"no recording in {self._name} is of {route}; recorded is {routes}"
        file, nearest = max(places, key=lambda place: likeness(body, place[1].request))
        difference = first_difference(body, nearest.request)
        return f"no recording in {self._name} answers this request; nearest is {file}; at {difference}"


def _refused(message: str) -> ProviderError:
    return ProviderError(
        f"{message}; record the call anew, or leave the endpoint's `replay` out to reach its server",
        kind=ErrorKind.INVALID_REQUEST,
        phase=ErrorPhase.REQUEST,
        scope=ErrorScope.REQUEST,
    )
