"""What goes wrong on the control plane.

LlmgineError
└── ControlError
    ├── ActorGone          no actor of that name lives, and none will come back by itself
    ├── ActorAway          the actor is there and could not be reached now; asking again is right
    ├── NameTaken          an actor of that name lives already
    ├── TaskFailed         a task of the cluster died, or could not be made
    ├── StartFailed        an actor of the runtime could not be started; says what may be missing
    ├── ClusterGone        the cluster itself is gone, and the runtime with it
    ├── RuntimeExists      a runtime of that name already runs
    ├── RuntimeNotFound    no runtime of that name runs where it was looked for
    ├── RuntimeStopping    the runtime is going away and takes nothing new
    ├── SessionConflict    the session is open with other tools or another system prompt
    ├── SessionNotFound    no session of that id is open
    ├── RayUnavailable     Ray could not be started or reached; says what to do
    └── NotSupported       a setting or an argument that this version does not serve
"""

from __future__ import annotations

from llmgine.providers.errors import LlmgineError


class ControlError(LlmgineError):
    """The control plane could not do what was asked."""


class ActorGone(ControlError):
    """No actor of that name lives, and none will come back by itself."""


class ActorAway(ControlError):
    """The actor could not be reached now; asking again is right."""


class NameTaken(ControlError):
    """An actor of that name lives already."""


class TaskFailed(ControlError):
    """A task of the cluster died before it had said all, or could not be made."""


class StartFailed(ControlError):
    """An actor of the runtime could not be started; the message names what may be missing."""


class ClusterGone(ControlError):
    """The cluster that the runtime ran on is gone; the message says where it was."""


class RuntimeExists(ControlError):
    """A runtime of that name already runs; `Runtime.connect` joins it."""


class RuntimeNotFound(ControlError):
    """No runtime of that name runs where it was looked for."""


class RuntimeStopping(ControlError):
    """The runtime is going away and takes nothing new."""


class SessionConflict(ControlError):
    """The session is open with other tools or another system prompt than asked for."""


class SessionNotFound(ControlError):
    """No session of that id is open."""


class RayUnavailable(ControlError):
    """Ray could not be started or reached."""


class NotSupported(ControlError):
    """A setting or an argument that this version does not serve."""
