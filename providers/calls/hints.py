"""Which setting mends a failed call, where one does."""

from __future__ import annotations

import socket

from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.keys import KeyPlace, key_places
from llmgine.providers.options import EndpointOptions


def hint_for(
    error: ProviderError, name: str, endpoint: EndpointOptions, key: KeyPlace | None = None
) -> str | None:
    """What to look at, by its path in the settings, or how long to wait; None where neither helps.

    `key` is where the key came from that the call was made with.
    """
    path = f"providers.endpoints.{name}"
    match error.kind:
        case ErrorKind.AUTHENTICATION | ErrorKind.PERMISSION:
            places = str(key or " or ".join(map(str, key_places(endpoint))))
            node = f" on node {socket.gethostname()}"
            found = f"its key comes from {places}{node}" if places else "it was given no key"
            return f"{found}; {path}.{'keys' if endpoint.keys else 'key_env and key_file'} say where to look"
        case ErrorKind.CONNECTION if error.phase is not ErrorPhase.MID_STREAM and endpoint.kind != "local":
            where = f" is {endpoint.base_url}" if endpoint.base_url else " is the vendor's own"
            return f"{path}.base_url{where}"
        case ErrorKind.NOT_FOUND if endpoint.base_url and endpoint.protocol == "openai-responses":
            right = f"is the model's name right, and {path}.base_url?"
            return f'{right} a server without Responses needs {path}.api: "openai-chat"'
        case ErrorKind.NOT_FOUND if endpoint.kind not in ("local", "scripted"):
            return f"is the model's name right, and {path}.base_url?"
        case ErrorKind.TIMEOUT:
            return f"{path}.timeouts and the request's idle_timeout and deadline bound the wait"
        case ErrorKind.UNSUPPORTED if error.phase is not ErrorPhase.REQUEST and endpoint.kind != "scripted":
            return f"leave it out of the request; providers.profiles says what {name}/{error.model} can do"
        case ErrorKind.BAD_OUTPUT:
            return "the request's output.repairs and output.mode, or a larger max_output_tokens, may help"
        case ErrorKind.CONTEXT_LENGTH if endpoint.kind == "local":
            return "providers.local.context sets the size"
        case _ if error.retry_after:
            return f"try again in {error.retry_after:g} s"
        case _:
            return None
