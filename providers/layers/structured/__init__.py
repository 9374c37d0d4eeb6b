from llmgine.providers.layers.structured.layer import StructuredOutput
from llmgine.providers.layers.structured.plan import Means, asked_again

__all__ = ["Means", "StructuredOutput", "asked_again"]
