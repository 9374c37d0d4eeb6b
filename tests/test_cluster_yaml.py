"""The file at the root is one that Ray and we both take."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from llmgine.runtime.settings import Settings, load_settings

FILE = Path(__file__).parent.parent / "cluster.yaml"


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def test_ray_accepts_it(content: dict[str, Any]) -> None:
    """cluster.yaml is valid by the schema that `ray up` checks it with."""
    spec = importlib.util.find_spec("ray")
    assert spec is not None
    assert spec.origin is not None
    schema = json.loads(
        (Path(spec.origin).parent / "autoscaler" / "ray-schema.json").read_text(encoding="utf-8")
    )
    jsonschema.validate(content, schema)


def test_our_section_is_settings() -> None:
    """Every setting in cluster.yaml is known, and stands there with its default."""
    assert load_settings(environ={}, file=FILE) == Settings()


def test_every_start_is_explicit(content: dict[str, Any]) -> None:
    """Each start of Ray says its authentication mode, reports nothing, and ends nobody else's Ray."""
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        for command in content[key]:
            assert "ray stop" not in command
            assert "RAY_AUTH_MODE=" in command
            assert "RAY_USAGE_STATS_ENABLED=0" in command
