"""What becomes of each source's conversation at each target.

"2.1~" is the second part of the third message, changed; "-" is dropped. The places are those of the
conversations in `sources`: 1 is the first answer, 2 the results of its calls, 3 the second answer.
"""

from __future__ import annotations

from typing import Final

EXPECTED: Final[dict[str, dict[str, str]]] = {
    "openai": {
        "openai": "2.0.is_error~",
        "chat": "1.0- 1.3- 2.0.is_error~ 2.1~ 3.0- 3.1- 3.2.citations-",
        "compatible": "1.0- 1.3- 2.0.is_error~ 2.1~ 3.0- 3.1- 3.2.citations- 5.0~",
        "anthropic": "1.0- 1.3- 3.0- 3.1- 3.2.citations- 5.0~",
        "gemini": "1.0- 1.2.signature~ 1.3- 3.0- 3.1- 3.2.citations- 5.0~",
        "local": "messages~ 3.0- 3.1- 3.2.citations- 5.0~",
    },
    "chat": {
        "openai": "2.0.is_error~ 3.0.citations- 5.0~",
        "chat": "2.0.is_error~ 2.1~ 3.0.citations-",
        "compatible": "2.0.is_error~ 2.1~ 3.0.citations- 5.0~",
        "anthropic": "3.0.citations- 5.0~",
        "gemini": "1.1.signature~ 3.0.citations- 5.0~",
        "local": "messages~ 3.0.citations- 5.0~",
    },
    "compatible": {
        "openai": "1.0- 2.0.is_error~ 3.0-",
        "chat": "1.0- 2.0.is_error~ 2.1~ 3.0-",
        "compatible": "2.0.is_error~ 2.1~",
        "anthropic": "1.0- 3.0-",
        "gemini": "1.0- 1.2.signature~ 3.0-",
        "local": "messages~ 3.0-",
    },
    "anthropic": {
        "openai": "1.0- 1.1- 1.4- 2.0.is_error~ 3.0- 3.1- 3.2- 3.3.citations-",
        "chat": "1.0- 1.1- 1.4- 2.0.is_error~ 2.1~ 3.0- 3.1- 3.2- 3.3.citations-",
        "compatible": "1.0- 1.1- 1.4- 2.0.is_error~ 2.1~ 3.0- 3.1- 3.2- 3.3.citations-",
        "anthropic": "",
        "gemini": "1.0- 1.1- 1.3.signature~ 1.4- 3.0- 3.1- 3.2- 3.3.citations-",
        "local": "messages~ 3.0- 3.1- 3.2- 3.3.citations-",
    },
    "gemini": {
        "openai": "1.0- 1.2.signature- 2.0.is_error~ 3.0- 3.1- 3.2.citations- 3.3.signature- 5.0.signature-",
        "chat": "1.0- 1.2.signature- 2.0.is_error~ 2.1~ 3.0- 3.1- 3.2.citations- 3.3.signature- "
        "5.0.signature-",
        "compatible": "1.0- 1.2.signature- 2.0.is_error~ 2.1~ 3.0- 3.1- 3.2.citations- 3.3.signature- "
        "5.0.signature-",
        "anthropic": "1.0- 1.2.signature- 3.0- 3.1- 3.2.citations- 3.3.signature- 5.0.signature-",
        "gemini": "",
        "local": "messages~ 3.0- 3.1- 3.2.citations- 3.3.signature- 5.0.signature-",
    },
    "local": {
        "openai": "2.0.is_error~",
        "chat": "2.0.is_error~ 4.0~",
        "compatible": "2.0.is_error~ 4.0~",
        "anthropic": "",
        "gemini": "1.0.signature~ 3.0.signature~",
        "local": "messages~",
    },
    "scripted": {
        "openai": "1.0- 1.1- 1.4- 1.5.signature- 2.0.is_error~ 3.0- 5.0~",
        "chat": "1.0- 1.1- 1.4- 1.5.signature- 2.0.is_error~ 2.1~ 3.0-",
        "compatible": "1.0- 1.1- 1.4- 1.5.signature- 2.0.is_error~ 2.1~ 3.0- 5.0~",
        "anthropic": "1.0- 1.1- 1.4- 1.5.signature- 3.0- 5.0~",
        "gemini": "1.0- 1.1- 1.3.signature~ 1.4- 1.5.signature- 3.0- 5.0~",
        "local": "messages~ 3.0- 5.0~",
    },
}
