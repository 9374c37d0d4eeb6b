"""`/v1/models`, which both vendors have at the same place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmgine.actors.gateway.shapes import ModelRow
from llmgine.actors.gateway.vendor.failures import Vendor

# When a model was made is not known here.
_EPOCH = "1970-01-01T00:00:00Z"


def listed(models: Sequence[ModelRow], vendor: Vendor) -> dict[str, Any]:
    rows = [shown(model, vendor) for model in models]
    if vendor == "openai":
        return {"object": "list", "data": rows}
    ids = [row["id"] for row in rows] or [None]
    return {"data": rows, "has_more": False, "first_id": ids[0], "last_id": ids[-1]}


def shown(model: ModelRow, vendor: Vendor) -> dict[str, Any]:
    if vendor == "openai":
        return {"id": model.id, "object": "model", "created": 0, "owned_by": model.provider}
    return {"type": "model", "id": model.id, "display_name": model.id, "created_at": _EPOCH}
