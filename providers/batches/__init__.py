from llmgine.providers.batches.choice import batch_codec_for, no_batches
from llmgine.providers.batches.codec import BatchCodec, Sending, Steps
from llmgine.providers.batches.forwarding import ForwardingBatches
from llmgine.providers.batches.lines import LineSplitter

__all__ = [
    "BatchCodec",
    "ForwardingBatches",
    "LineSplitter",
    "Sending",
    "Steps",
    "batch_codec_for",
    "no_batches",
]
