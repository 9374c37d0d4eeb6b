"""The well-known compatible servers: what each of them takes, and what it is not sent."""

from __future__ import annotations

from typing import ClassVar

from tests.providers.conformance.faults import FaultConformance


class TestOpenRouter(FaultConformance):
    endpoint: ClassVar = {"preset": "openrouter"}
    path = "/v1"


class TestXai(FaultConformance):
    endpoint: ClassVar = {"preset": "xai"}
    path = "/v1"
    lacks: ClassVar = {"top_k": "top_k", "audio": "sound", "document": "documents"}


class TestDeepSeek(FaultConformance):
    endpoint: ClassVar = {"preset": "deepseek"}
    path = "/v1"
    lacks: ClassVar = {
        "top_k": "top_k",
        "seed": "seed",
        "parallel_tool_calls": "parallel_tool_calls",
        "audio": "sound",
        "document": "documents",
    }


class TestGroq(FaultConformance):
    endpoint: ClassVar = {"preset": "groq"}
    path = "/v1"
    lacks: ClassVar = {"top_k": "top_k", "audio": "sound", "document": "documents"}


class TestMistral(FaultConformance):
    endpoint: ClassVar = {"preset": "mistral"}
    path = "/v1"
    bridge: ClassVar = [["assistant", "text", "OK."]]
    lacks: ClassVar = {"top_k": "top_k", "audio": "sound"}


class TestOllama(FaultConformance):
    endpoint: ClassVar = {"preset": "ollama"}
    path = "/v1"
    lacks: ClassVar = {
        "top_k": "top_k",
        "parallel_tool_calls": "parallel_tool_calls",
        "tool_choice": "tool_choice",
        "audio": "sound",
        "document": "documents",
    }


class TestVllm(FaultConformance):
    endpoint: ClassVar = {"preset": "vllm"}
    path = "/v1"
    lacks: ClassVar = {"document": "documents"}


class TestLlamaCpp(FaultConformance):
    endpoint: ClassVar = {"preset": "llamacpp"}
    path = "/v1"
    lacks: ClassVar = {"document": "documents"}
