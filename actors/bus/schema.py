"""Whether two classes of one wire name are the same class, seen from different processes."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError
from pydantic.json_schema import GenerateJsonSchema

from llmgine.actors.bus.messages import Message

_WORDS = frozenset({"title", "description", "default", "examples"})
_MAPS = frozenset({"properties", "$defs", "patternProperties"})


class _Quiet(GenerateJsonSchema):
    ignored_warning_kinds = frozenset({"skipped-choice", "non-serializable-default"})  # type: ignore[assignment]


def fingerprint(message_class: type[Message]) -> str:
    """Equal for classes that read the same fields, whatever their texts and defaults."""
    try:
        schema: Any = _bare(message_class.model_json_schema(by_alias=False, schema_generator=_Quiet))
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError):
        schema = {
            name: [str(field.annotation), field.is_required()]
            for name, field in message_class.model_fields.items()
        }
    text = json.dumps(schema, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _bare(schema: Any, *, names: bool = False) -> Any:
    """The schema without what only people read; `names` where the keys are the user's own."""
    if isinstance(schema, list):
        return [_bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _bare(value, names=not names and key in _MAPS)
        for key, value in schema.items()
        if names or key not in _WORDS
    }
