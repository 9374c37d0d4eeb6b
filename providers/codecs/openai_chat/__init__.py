from llmgine.providers.codecs.openai_chat.codec import OpenAIChatCodec

__all__ = ["OpenAIChatCodec"]
