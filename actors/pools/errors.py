"""What goes wrong with pools beside the calls themselves.

LlmgineError
└── PoolError
    ├── PoolChangeRefused   a pool cannot be changed so; nothing has been
    └── PoolNotReady        a change takes longer than its caller would wait; it goes on
"""

from __future__ import annotations

from llmgine.providers.errors import LlmgineError


class PoolError(LlmgineError):
    """A pool could not be brought to what was asked."""


class PoolChangeRefused(PoolError):
    """A pool cannot be changed so; nothing has been."""


class PoolNotReady(PoolError):
    """A change takes longer than its caller would wait; it goes on."""
