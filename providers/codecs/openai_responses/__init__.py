from llmgine.providers.codecs.openai_responses.codec import OpenAIResponsesCodec

__all__ = ["OpenAIResponsesCodec"]
