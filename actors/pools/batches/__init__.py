from llmgine.actors.pools.batches.calls import BatchCalls
from llmgine.actors.pools.batches.desk import BatchDesk
from llmgine.actors.pools.batches.options import BatchOptions
from llmgine.actors.pools.batches.pauses import Patience, next_pause

__all__ = ["BatchCalls", "BatchDesk", "BatchOptions", "Patience", "next_pause"]
