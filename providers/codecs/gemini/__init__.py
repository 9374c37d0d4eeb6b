from llmgine.providers.codecs.gemini.codec import GeminiCodec

__all__ = ["GeminiCodec"]
