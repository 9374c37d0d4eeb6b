from llmgine.providers.codecs.schema.dialects import (
    Dialect,
    anthropic_output,
    gemini_json,
    gemini_legacy,
    openai_strict,
    restore,
)

__all__ = ["Dialect", "anthropic_output", "gemini_json", "gemini_legacy", "openai_strict", "restore"]
