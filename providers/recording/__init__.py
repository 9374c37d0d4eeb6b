from llmgine.providers.recording.interaction import Interaction, read_recording
from llmgine.providers.recording.recorder import Recorder
from llmgine.providers.recording.tap import Tap

__all__ = ["Interaction", "Recorder", "Tap", "read_recording"]
