"""Settings: which source wins, and what a wrong one is told."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llmgine.providers.errors import LlmgineError
from llmgine.runtime.settings import Settings, load_settings
from llmgine.runtime.settings_errors import SettingsError

FILE = "metadata: {llmgine: {sessions: {max_steps: 3, queue: 30}, control: {tcp: never}}}"


@pytest.fixture(autouse=True)
def _nothing_from_outside(clean_environ: Path) -> None:
    pass


def refused(overrides: Any = None, environ: Mapping[str, str] | None = None, file: Path | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings(overrides, environ=environ or {}, file=file)
    text = str(caught.value)
    assert "pydantic" not in text
    assert "Traceback" not in text
    return text


def test_defaults_need_nothing() -> None:
    """Without keyword, variable and file the settings are the rooms' defaults."""
    assert load_settings(environ={}) == Settings()


def test_keyword_over_variable_over_file(tmp_path: Path) -> None:
    """A keyword wins over a variable, which wins over the file; each fills what is left open."""
    file = tmp_path / "settings.yaml"
    file.write_text(FILE)
    environ = {
        "LLMGINE_CONFIG": str(file),
        "LLMGINE_SESSIONS__MAX_STEPS": "4",
        "LLMGINE_SESSIONS__TOOL_TIMEOUT": "7",
    }
    settings = load_settings({"sessions": {"tool_timeout": 9}}, environ=environ)
    assert settings.sessions.tool_timeout == 9
    assert settings.sessions.max_steps == 4
    assert settings.sessions.queue == 30
    assert settings.control.tcp == "never"


def test_settings_as_overrides_keep_only_what_was_set() -> None:
    """A Settings object given as keywords leaves to the environment what it does not set itself."""
    mine = Settings(sessions={"queue": 5})
    settings = load_settings(mine, environ={"LLMGINE_SESSIONS__MAX_STEPS": "2"})
    assert (settings.sessions.queue, settings.sessions.max_steps) == (5, 2)


def test_loading_again_changes_nothing(tmp_path: Path) -> None:
    """Settings that were loaded give equal settings when they are loaded again."""
    file = tmp_path / "settings.yaml"
    file.write_text(FILE)
    endpoints = {"house": {"base_url": "http://127.0.0.1:1/v1"}, "openai": {"base_url": "http://127.0.0.1:2"}}
    loaded = load_settings({"providers": {"endpoints": endpoints}}, environ={}, file=file)
    assert load_settings(loaded, environ={}) == loaded


def test_option_classes_as_overrides() -> None:
    """A room's option object is taken as a keyword like a table."""
    options = type(Settings().sessions)(queue=5)
    assert load_settings({"sessions": options}, environ={}).sessions.queue == 5


def test_variables_know_no_case() -> None:
    """A variable's letters may be large or small."""
    assert load_settings(environ={"llmgine_sessions__queue": "8"}).sessions.queue == 8


def test_variables_reach_free_names() -> None:
    """A level may be a name of the user's own, as a provider's pool."""
    settings = load_settings(environ={"LLMGINE_POOLS__BY_PROVIDER__OPENAI__SIZE": "3"})
    assert settings.pools.of("openai").size == 3
    assert settings.pools.of("anthropic").size == 1


def test_variable_as_json() -> None:
    """A whole table may be given as JSON."""
    assert load_settings(environ={"LLMGINE_SESSIONS": '{"queue": 8}'}).sessions.queue == 8


def test_empty_variable_is_unset() -> None:
    """An empty variable says nothing."""
    assert load_settings(environ={"LLMGINE_SESSIONS__QUEUE": "", "LLMGINE_CONFIG": ""}) == Settings()


def test_data_dir_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The data folder may begin with the home sign."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings(environ={"LLMGINE_DATA_DIR": "~/kept"}).data_dir == tmp_path / "kept"


def test_file_order(monkeypatch: pytest.MonkeyPatch, clean_environ: Path) -> None:
    """Without LLMGINE_CONFIG, ./cluster.yaml holds, else the file that `ray up` leaves in the home folder."""
    head = Path(os.environ["HOME"]) / "ray_bootstrap_config.yaml"
    head.write_text('{"metadata": {"llmgine": {"sessions": {"queue": 11}}}}')
    assert load_settings(environ={}).sessions.queue == 11
    (clean_environ / "cluster.yaml").write_text("metadata: {llmgine: {sessions: {queue: 12}}}")
    assert load_settings(environ={}).sessions.queue == 12
    named = clean_environ / "other.yaml"
    named.write_text("metadata: {llmgine: {sessions: {queue: 13}}}")
    assert load_settings(environ={"LLMGINE_CONFIG": str(named)}).sessions.queue == 13


@pytest.mark.parametrize(
    "text", ["", "cluster_name: x", "metadata:", "metadata: {other: 1}", "metadata: {llmgine: }"]
)
def test_file_without_our_section(tmp_path: Path, text: str) -> None:
    """A file that says nothing of us is fine."""
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    assert load_settings(environ={}, file=file) == Settings()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1", "line 1"),
        ("a: 1\nb:\n\t- 2", "line 3"),
        ("- 1", "the file is list"),
        ("metadata: 3", "metadata is int"),
        ("metadata: {llmgine: [1]}", "metadata.llmgine is list"),
        ("metadata: {llmgine: {sessions: {queue: many}}}", "metadata.llmgine.sessions.queue"),
        ("metadata: {llmgine: {sessions: 3}}", "sessions is 3"),
        ("metadata: {llmgine: {sesions: {}}}", "did you mean metadata.llmgine.sessions?"),
        ("metadata: {llmgine: {sessions: {qeue: 1}}}", "did you mean metadata.llmgine.sessions.queue?"),
        ("metadata: {llmgine: {3: 1}}", "unknown setting metadata.llmgine.3"),
    ],
)
def test_broken_file(tmp_path: Path, text: str, told: str) -> None:
    """A file that is wrong is named, with the line or the path of what is wrong in it."""
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    message = refused(file=file)
    assert str(file) in message
    assert told in message


def test_binary_file(tmp_path: Path) -> None:
    """A file that is no text at all is refused by name."""
    file = tmp_path / "settings.yaml"
    file.write_bytes(b"\xff\xfe\x00\x00\x81")
    assert str(file) in refused(file=file)


def test_named_file_must_exist(tmp_path: Path) -> None:
    """LLMGINE_CONFIG that names no file is an error; the files that are looked for need not be there."""
    message = refused(environ={"LLMGINE_CONFIG": str(tmp_path / "no.yaml")})
    assert "LLMGINE_CONFIG" in message
    assert "no.yaml" in message


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("LLMGINE_SESSIONS__QEUE", "LLMGINE_SESSIONS__QUEUE"),
        ("LLMGINE_SESSION__QUEUE", "LLMGINE_SESSIONS"),
        ("LLMGINE_CONFG", "LLMGINE_CONFIG"),
        ("LLMGINE_DATADIR", "LLMGINE_DATA_DIR"),
        ("LLMGINE_SHARDS", "LLMGINE_BUS__SHARDS"),
        ("LLMGINE_POOLS__BY_PROVIDER__OPENAI__SIZ", "LLMGINE_POOLS__BY_PROVIDER__OPENAI__SIZE"),
    ],
)
def test_unknown_variable(variable: str, nearest: str) -> None:
    """A variable of ours that names no setting is refused with the nearest that does."""
    message = refused(environ={variable: "1"})
    assert variable in message
    assert nearest in message.replace(variable, "", 1)


def test_secrets_of_tools_are_no_settings() -> None:
    """Variables that hold secrets for tools stand beside the settings."""
    assert load_settings(environ={"LLMGINE_SECRET_SHOP_KEY": "sesame"}) == Settings()


def test_foreign_variables_are_left_alone() -> None:
    """Variables without our prefix are nobody's business here."""
    assert load_settings(environ={"LLM_X": "1", "PATH": "/bin", "MY_LLMGINE_X": "1"}) == Settings()


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        ({"sessions": {"qeue": 1}}, "did you mean sessions.queue?"),
        ({"sesions": {}}, "did you mean sessions?"),
        ({"queue": 1}, "did you mean sessions.queue?"),
        ({"pools": {"by_provider": {"openai": {"siz": 1}}}}, "did you mean pools.by_provider.openai.size?"),
        ({"sessions": {"queue": "many"}}, "sessions.queue is 'many' (keyword argument)"),
        ({"sessions": {"queue": 0}}, "greater than or equal to 1"),
        ({"control": {"tcp": "perhaps"}}, "'auto', 'always' or 'never'"),
        (
            {"providers": {"endpoints": {"house": {}}}},
            "endpoints.house is refused (keyword argument): an openai-compatible endpoint needs base_url",
        ),
    ],
)
def test_wrong_keyword(overrides: dict[str, Any], told: str) -> None:
    """A keyword that is unknown or of the wrong type is named by its full path."""
    assert told in refused(overrides)


def test_wrong_type_in_a_variable() -> None:
    """A value of the wrong type is told with its variable, what was given and what is expected."""
    message = refused(environ={"LLMGINE_SESSIONS__QUEUE": "many"})
    assert "LLMGINE_SESSIONS__QUEUE" in message
    assert "'many'" in message
    assert "integer" in message


def test_variable_that_is_no_table() -> None:
    """A section given as a plain word is refused with the form that is right."""
    assert "LLMGINE_SESSIONS__NAME=value" in refused(environ={"LLMGINE_SESSIONS": "fast"})


def test_all_that_is_wrong_is_told_at_once() -> None:
    """Each wrong setting has its line."""
    lines = refused({"sessions": {"queue": 0, "qeue": 1}}).splitlines()
    assert len(lines) == 2


def test_a_key_in_a_wrong_place_is_not_repeated() -> None:
    """What may be a key does not enter the message."""
    secret = "sk-abcdefghijklmnopqrstuvwxyz0123456789"
    wrong = {"providers": {"endpoints": {"openai": {"api": secret, "headers": secret, "kind": secret}}}}
    assert secret not in refused(wrong)


def test_direct_construction_tells_the_same_way() -> None:
    """Settings(...) refuses with the same error, and reads neither environment nor file."""
    with pytest.raises(SettingsError, match="did you mean sessions"):
        Settings(sesions={})


def test_settings_are_frozen_and_travel() -> None:
    """Settings cannot be changed, and their plain form reads back as equal settings."""
    settings = load_settings({"sessions": {"queue": 5}, "data_dir": "/tmp/x"}, environ={})
    with pytest.raises(ValueError, match="frozen"):
        settings.__setattr__("data_dir", None)
    assert Settings(**settings.to_wire()) == settings


def test_the_error_survives_pickling() -> None:
    """A SettingsError arrives whole in another process."""
    error = pickle.loads(pickle.dumps(SettingsError("x is wrong")))
    assert isinstance(error, LlmgineError)
    assert str(error) == "x is wrong"


def test_environment_is_not_read_at_import() -> None:
    """A broken environment does not hinder the import, only the loading."""
    code = "import llmgine.runtime.settings as s; s.Settings()"
    environ = {**os.environ, "LLMGINE_NONSENSE": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environ, timeout=60)


def test_each_setting_is_described() -> None:
    """Every setting says what it means."""
    from llmgine.runtime.settings_errors import _model, _paths

    for path in _paths(Settings):
        at: Any = Settings
        for name in path[:-1]:
            at = _model(at.model_fields[name].annotation)
        assert at.model_fields[path[-1]].description, ".".join(path)


@pytest.mark.parametrize(
    ("said", "kept"), [("true", True), ("SPAN_ONLY", True), ("NO_CONTENT", False), ("", False)]
)
def test_opentelemetrys_variable_for_content(said: str, kept: bool, tmp_path: Path) -> None:
    """OpenTelemetry's own variable switches content on where nothing of ours says otherwise."""
    environ = {"OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": said}
    assert load_settings(environ=environ).telemetry.content is kept
    assert not load_settings(environ={**environ, "LLMGINE_TELEMETRY__CONTENT": "false"}).telemetry.content
    file = tmp_path / "settings.yaml"
    file.write_text("metadata: {llmgine: {telemetry: {content: false}}}")
    assert not load_settings(environ=environ, file=file).telemetry.content
