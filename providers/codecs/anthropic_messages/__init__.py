from llmgine.providers.codecs.anthropic_messages.codec import AnthropicMessagesCodec

__all__ = ["AnthropicMessagesCodec"]
