from llmgine.providers.frames.splitter import MalformedStream, Splitter
from llmgine.providers.frames.sse import SseSplitter

__all__ = ["MalformedStream", "Splitter", "SseSplitter"]
