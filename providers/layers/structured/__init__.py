from llmgine.providers.layers.structured.layer import StructuredOutput
from llmgine.providers.layers.structured.plan import Means, asked_again, planned
from llmgine.providers.layers.structured.whole import WholeOutput

__all__ = ["Means", "StructuredOutput", "WholeOutput", "asked_again", "planned"]
