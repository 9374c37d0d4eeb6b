"""What has become of each prompt of a map that is asked in batches. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from llmgine.actors.sessions import Reply
from llmgine.providers import ErrorKind, LlmgineError, OutputInvalid, ProviderError


class Job:
    """Prompts by their numbers: some wait for a batch, some are in one, some have their result.

    One that failed waits again, up to `retries` times, where that may help.
    """

    def __init__(self, prompts: Iterable[int], retries: int) -> None:
        self.waiting: set[int] = set(prompts)
        self.results: dict[int, Reply | LlmgineError] = {}
        self._retries = retries
        self._failures: Counter[int] = Counter()

    def take(self, numbers: Iterable[int]) -> None:
        """These are in a batch now."""
        self.waiting.difference_update(numbers)

    def put_back(self, numbers: Iterable[int]) -> None:
        """These are in no batch after all; it is no failure of theirs."""
        self.waiting.update(number for number in numbers if number not in self.results)

    def succeeded(self, number: int, reply: Reply) -> None:
        self.results[number] = reply
        self.waiting.discard(number)

    def failed(self, number: int, error: LlmgineError, *, counts: bool = True) -> bool:
        """Whether this is the last word; one that does not count is never the last."""
        if number in self.results:
            return False
        if counts:
            self._failures[number] += 1
        if not counts or (self._failures[number] <= self._retries and may_pass(error)):
            self.waiting.add(number)
            return False
        self.results[number] = error
        return True

    def end(self, number: int, error: LlmgineError) -> None:
        """It is not asked again."""
        self.results.setdefault(number, error)
        self.waiting.discard(number)


def may_pass(error: LlmgineError) -> bool:
    """Whether the same request may do better in another batch."""
    if isinstance(error, ProviderError):
        return error.retryable and error.kind is not ErrorKind.CANCELLED
    return isinstance(error, OutputInvalid)
