"""Finding the token and the clients' keys on the gateway's node; what is kept of them are digests."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from llmgine.actors.gateway.errors import SecretMissing
from llmgine.actors.gateway.options import OWNER, GatewayOptions, checked_secret


def find_secrets(options: GatewayOptions, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The digest of each secret by who has it; `SecretMissing` where one is not where it should be."""
    environ = os.environ if environ is None else environ
    places = {
        OWNER: ("gateway.token", options.token, options.token_env, options.token_file),
        **{
            name: (f"gateway.clients.{name}.key", one.key, one.key_env, one.key_file)
            for name, one in options.clients.items()
        },
    }
    found = {}
    for name, (setting, known, variable, file) in places.items():
        secret = known
        if variable is not None:
            secret = _checked(setting, f"the variable {variable}", environ.get(variable, ""))
        elif file is not None:
            secret = _checked(setting, str(file), _read(setting, file))
        if secret is not None:
            found[name] = secret
    return found


def _read(setting: str, file: Path) -> str:
    try:
        return file.expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SecretMissing(
            f"{setting}_file: {file} cannot be read on the gateway's node: {type(error).__name__}"
        ) from None


def _checked(setting: str, place: str, secret: str) -> str:
    try:
        digested = checked_secret(secret.strip() or None)
    except ValueError as error:
        raise SecretMissing(f"{setting}: what {place} holds will not do: {error}") from None
    if digested is None:
        raise SecretMissing(f"{setting}: {place} is empty or not there, on the gateway's node")
    return digested
