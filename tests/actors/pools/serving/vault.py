"""A user's module that gives keys."""

from __future__ import annotations


def key(name: str) -> str:
    return f"sk-of-the-vault-{name}"
