from llmgine.providers.codecs.anthropic_messages import AnthropicMessagesCodec
from llmgine.providers.codecs.codec import Codec, Decoder, Encoded, Target
from llmgine.providers.codecs.openai_chat import OpenAIChatCodec

__all__ = ["AnthropicMessagesCodec", "Codec", "Decoder", "Encoded", "OpenAIChatCodec", "Target"]
