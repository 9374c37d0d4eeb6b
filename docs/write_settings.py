"""Writes docs/settings.md from the settings' own descriptions: `make docs`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from llmgine.runtime.settings import Settings

PAGE = Path(__file__).parent / "settings.md"
HEAD = """# Settings

Keyword arguments win over the environment, which wins over the file:

- `Runtime.launch({"sessions": {"max_steps": 4}})`, or `Settings(sessions={"max_steps": 4})`
- `LLMGINE_SESSIONS__MAX_STEPS=4`: the path in capitals, levels joined by two underscores; lists and tables are JSON
- the section `metadata.llmgine` of the file that `LLMGINE_CONFIG` names, else of `./cluster.yaml`, else of `~/ray_bootstrap_config.yaml`,
  where `ray up` leaves its file on the head node

A name that is unknown is an error which tells the nearest one. NAME stands for a name of your own, [] for a list of such. This page is written by `make docs`.
"""


def page() -> str:
    """The page as it should be."""
    lines = [HEAD]
    for name, field in Settings.model_fields.items():
        model = _model(field.annotation)
        lines.append(f"## {name}\n\n{_sentence(field.description)}\n")
        if model is None:
            continue
        lines.append("| setting | default | meaning |\n|---|---|---|")
        lines.extend(f"| `{path}` | {default} | {text} |" for path, default, text in _rows(model, name))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _rows(model: type[BaseModel], above: str) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        path = f"{above}.{name}"
        below = _model(field.annotation)
        if below is None and get_origin(field.annotation) is dict:
            below, path = _model(get_args(field.annotation)[1]), f"{path}.NAME"
        elif get_origin(field.annotation) is tuple and (below := _model(get_args(field.annotation)[0])):
            path = f"{path}[]"
        if below is not None and path.count("NAME") < 2 and "scripts" not in path:
            yield from _rows(below, path)
        else:
            yield path, _default(field), _sentence(field.description)


def _default(field: Any) -> str:
    default = field.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return "required"
    if default is None or (isinstance(default, dict | tuple | BaseModel) and not default):
        return "–"
    return f"`{default}`" if not isinstance(default, BaseModel) else "–"


def _sentence(text: str | None) -> str:
    plain = " ".join((text or "").split()).replace("|", "\\|")
    return plain[:1].upper() + plain[1:].rstrip(".")


def _model(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
