"""What all contracts have in common."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """Frozen, closed to unknown fields, equal by value, and shown without what is as by default."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64")

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """What is not as by default, so that what was said stands out."""
        fields = type(self).model_fields
        for name, value in super().__repr_args__():
            field = fields.get(name or "")
            if field is None or field.get_default(call_default_factory=True, validated_data={}) != value:
                yield name, value
