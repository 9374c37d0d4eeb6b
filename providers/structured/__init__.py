from llmgine.providers.structured.layer import StructuredOutput
from llmgine.providers.structured.plan import Means, asked_again

__all__ = ["Means", "StructuredOutput", "asked_again"]
