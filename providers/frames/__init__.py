from llmgine.providers.frames.json_array import JsonArraySplitter
from llmgine.providers.frames.splitter import MalformedStream, Splitter
from llmgine.providers.frames.sse import SseSplitter
from llmgine.providers.frames.whole import WholeFrames

__all__ = ["JsonArraySplitter", "MalformedStream", "Splitter", "SseSplitter", "WholeFrames"]
