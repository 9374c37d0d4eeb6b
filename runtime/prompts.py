"""Prompts as templates whose variables are declared, so that a wrong one is found before a model sees it.

PromptError
├── PromptRefused     the template itself: it does not parse, or uses what is not declared
└── PromptVariables   what it was rendered with: missing, unknown, or of a wrong type

The language is Jinja2 in its sandbox: a template reads the values it is given and reaches nothing else.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError

from llmgine.providers import LlmgineError


class PromptError(LlmgineError):
    """A prompt cannot be used; the message names it, the variable, and what mends it."""


class PromptRefused(PromptError):
    """The template does not parse, or its variables are not those that are declared."""


class PromptVariables(PromptError):
    """It was rendered with a variable that is missing, unknown, or of a wrong type."""


class Prompt:
    """A template with typed variables: `Prompt("Hello {{ name }}", name=str)`.

    Each variable that the text uses is declared as a keyword with its type, any that pydantic knows,
    and each declared one is used; `PromptRefused` says at once where that is not so. `render` gives the
    text, for `system=` and for a turn alike. Values are put in as they are and never read as templates.
    """

    def __init__(self, text: str, /, **variables: Any) -> None:
        self.text = text
        self.variables = variables
        self._shown = _shown(text)
        self._template: Any = _compiled(text, self._shown, set(variables))
        self._types = {name: _adapter(self._shown, name, kind) for name, kind in variables.items()}

    @classmethod
    def file(cls, path: str | Path, /, **variables: Any) -> Self:
        """The template that a file holds, in UTF-8; read once, now."""
        try:
            text = Path(path).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise PromptRefused(f"the prompt's file {str(path)!r} cannot be read: {error}") from error
        return cls(text, **variables)

    def render(self, **values: Any) -> str:
        """The text with these values; PromptVariables names each that is missing, unknown or wrong."""
        wrong = [f"{name} is missing" for name in self.variables if name not in values]
        declared = ", ".join(self.variables) or "no variables"
        wrong += [f"{name} is unknown (it takes {declared})" for name in values if name not in self.variables]
        checked: dict[str, Any] = {}
        for name in self.variables.keys() & values.keys():
            try:
                checked[name] = self._types[name].validate_python(values[name], strict=True)
            except ValidationError as error:
                wrong += [_mistake(name, item) for item in error.errors(include_url=False)]
        if wrong:
            raise PromptVariables(f"the prompt {self._shown} cannot be rendered: {'; '.join(sorted(wrong))}")
        return self._rendered(checked)

    def __repr__(self) -> str:
        return (
            f"Prompt({self._shown}, {', '.join(self.variables)})"
            if self.variables
            else f"Prompt({self._shown})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.text, self.variables)

    def _rendered(self, values: dict[str, Any]) -> str:
        from jinja2 import TemplateError

        try:
            return str(self._template.render(values))
        except TemplateError as error:
            raise PromptVariables(f"the prompt {self._shown} cannot be rendered: {error}") from error
        except Exception as error:  # a value's own code, or arithmetic of the template
            said = f"{type(error).__name__}: {error}"
            raise PromptVariables(f"the prompt {self._shown} cannot be rendered: {said}") from error


def _again(kind: type[Prompt], text: str, variables: dict[str, Any]) -> Prompt:
    return kind(text, **variables)


@cache
def _environment() -> Any:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True
    )


def _compiled(text: str, shown: str, declared: set[str]) -> Any:
    from jinja2 import TemplateSyntaxError, meta

    environment = _environment()
    try:
        parsed = environment.parse(text)
        template = environment.from_string(text)
    except TemplateSyntaxError as error:
        raise PromptRefused(
            f"the prompt {shown} is no template: line {error.lineno}: {error.message}"
        ) from error
    if any(True for _ in meta.find_referenced_templates(parsed)):
        raise PromptRefused(f"the prompt {shown} includes another template; render that one into a variable")
    used = meta.find_undeclared_variables(parsed) - environment.globals.keys()
    undeclared, unused = sorted(used - declared), sorted(declared - used)
    if undeclared:
        example = f"{undeclared[0]}=str"
        raise PromptRefused(
            f"the prompt {shown} uses {', '.join(undeclared)}, not declared; declare it, as in {example}"
        )
    if unused:
        raise PromptRefused(f"the prompt {shown} declares {', '.join(unused)} and does not use it")
    return template


def _adapter(shown: str, name: str, kind: Any) -> TypeAdapter[Any]:
    refused = PromptRefused(
        f"the prompt {shown} declares {name}={kind!r}, which is no type; render() takes the values"
    )
    if isinstance(kind, str):
        raise refused
    try:
        return TypeAdapter(kind)
    except (PydanticUserError, SchemaError, TypeError, NameError) as error:
        raise refused from error


def _mistake(name: str, item: Any) -> str:
    return f"{'.'.join([name, *map(str, item['loc'])])}: {item['msg']}"


def _shown(text: str) -> str:
    """Enough of the text to know the prompt by."""
    if not isinstance(text, str):
        raise PromptRefused(f"a prompt's template is a str, not {type(text).__name__}; Prompt.file reads one")
    line = text.strip().partition("\n")[0]
    return repr(line if len(line) <= 60 else line[:60] + "…")
