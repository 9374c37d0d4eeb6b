from llmgine.providers.codecs.anthropic_messages import AnthropicMessagesCodec
from llmgine.providers.codecs.codec import Codec, Decoder, Encoded, Target
from llmgine.providers.codecs.gemini import GeminiCodec
from llmgine.providers.codecs.openai_chat import OpenAIChatCodec
from llmgine.providers.codecs.openai_responses import OpenAIResponsesCodec

__all__ = [
    "AnthropicMessagesCodec",
    "Codec",
    "Decoder",
    "Encoded",
    "GeminiCodec",
    "OpenAIChatCodec",
    "OpenAIResponsesCodec",
    "Target",
]
