from llmgine.providers.recording.tap import Tap

__all__ = ["Tap"]
