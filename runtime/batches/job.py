"""What has become of each prompt of a map that is asked in batches. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from llmgine.actors.sessions import Reply
from llmgine.providers import LlmgineError, LLMResponse, OutputInvalid, ProviderError

Outcome = Reply | LlmgineError


class Job:
    """Prompts by their numbers: some wait for a batch, some are in one, some have their result.

    One that failed waits again, up to `retries` times, where that may help; else its error is its result,
    or is raised unless `keeps_errors`, and stands in `raised` then. `reply` is what an answer under an id is
    for the caller.
    """

    def __init__(
        self,
        name: str,
        prompts: int,
        retries: int,
        *,
        keeps_errors: bool,
        reply: Callable[[LLMResponse, str], Reply],
    ) -> None:
        self.waiting: set[int] = set(range(prompts))
        self.results: dict[int, Outcome] = {}
        self.raised: LlmgineError | None = None
        self._name = name
        self._prompts = prompts
        self._retries = retries
        self._keeps_errors = keeps_errors
        self._reply = reply
        self._failures: Counter[int] = Counter()

    @property
    def unsettled(self) -> list[int]:
        """Those without a result."""
        return [number for number in range(self._prompts) if number not in self.results]

    def take(self, numbers: Iterable[int]) -> None:
        """These are in a batch now."""
        self.waiting.difference_update(numbers)

    def put_back(self, numbers: Iterable[int]) -> None:
        """These are in no batch after all; it is no failure of theirs."""
        self.waiting.update(number for number in numbers if number not in self.results)

    def settle(self, number: int, place: str, outcome: LLMResponse | ProviderError, *, counts: bool) -> None:
        """What a batch says of the prompt at that place."""
        if isinstance(outcome, ProviderError):
            self.failed(number, outcome, counts=counts)
            return
        try:
            self.results[number] = self._reply(outcome, f"{self._name}/{place}")
        except LlmgineError as error:
            self.failed(number, error, counts=counts)

    def failed(self, number: int, error: LlmgineError, *, counts: bool) -> None:
        """It waits again, or has its result; a failure that does not count is never the last."""
        if counts:
            self._failures[number] += 1
        if not counts or (self._failures[number] <= self._retries and _may_pass(error)):
            self.put_back([number])
        else:
            self.end([number], error)

    def end(self, numbers: Iterable[int], error: LlmgineError) -> None:
        """These are not asked again."""
        for number in numbers:
            if number in self.results:
                continue
            if not self._keeps_errors:
                error.add_note(f"the prompt is number {number} of the map {self._name!r}")
                self.raised = error
                raise error
            self.results[number] = error
            self.waiting.discard(number)


def _may_pass(error: LlmgineError) -> bool:
    """Whether the same request may do better in another batch."""
    return error.retryable if isinstance(error, ProviderError) else isinstance(error, OutputInvalid)
