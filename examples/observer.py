"""An observer of one's own: the settings name it, and it runs in the telemetry actor."""

import asyncio
from collections.abc import Sequence

from llmgine.runtime import LlmgineError, Observer, Runtime, Span, TraceSummary


class Watch(Observer):
    """Tells of failed spans and of slow traces."""

    async def spans(self, spans: Sequence[Span]) -> None:
        for span in spans:
            if span.error is not None:
                print("failed:", span.name, span.error)

    def trace(self, trace: TraceSummary) -> None:
        if trace.seconds is not None and trace.seconds > 1:
            print("slow:", trace.name, trace.seconds)


SETTINGS = {
    "providers": {
        "scripts": {"clerk": {"replies": [{"text": "Let me", "fault": {"kind": "invalid_request"}}]}}
    },
    "telemetry": {"observers": ["observer:Watch"]},
}


async def main() -> None:
    async with Runtime.in_process(SETTINGS) as runtime:
        async with runtime.session(model="scripted/clerk") as session:
            try:
                await session.ask("Is there any tea?")
            except LlmgineError as error:
                print("told:", error)


if __name__ == "__main__":
    asyncio.run(main())
