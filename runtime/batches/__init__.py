from llmgine.runtime.batches.asking import Asking
from llmgine.runtime.batches.notes import NoNotes, StoredNotes
from llmgine.runtime.batches.run import BatchPlan, cancelled, run_batches
from llmgine.runtime.batches.spans import BatchSpans

__all__ = ["Asking", "BatchPlan", "BatchSpans", "NoNotes", "StoredNotes", "cancelled", "run_batches"]
