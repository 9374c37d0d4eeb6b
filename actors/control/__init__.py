from llmgine.actors.control.actor import RuntimeActor
from llmgine.actors.control.client import ControlClient
from llmgine.actors.control.cluster import Boot, Cluster, SpawnOptions, TaskOptions, Tasks, World
from llmgine.actors.control.errors import (
    ActorAway,
    ActorGone,
    ClusterGone,
    ControlError,
    NameTaken,
    NotSupported,
    RayUnavailable,
    RuntimeExists,
    RuntimeNotFound,
    RuntimeStopping,
    SessionConflict,
    SessionNotFound,
    StartFailed,
    TaskFailed,
)
from llmgine.actors.control.ground import Ground
from llmgine.actors.control.lanes import Lanes
from llmgine.actors.control.local_cluster import LocalCluster, LocalWorld
from llmgine.actors.control.membership import Membership
from llmgine.actors.control.options import ControlOptions

__all__ = [
    "ActorAway",
    "ActorGone",
    "Boot",
    "Cluster",
    "ClusterGone",
    "ControlClient",
    "ControlError",
    "ControlOptions",
    "Ground",
    "Lanes",
    "LocalCluster",
    "LocalWorld",
    "Membership",
    "NameTaken",
    "NotSupported",
    "RayUnavailable",
    "RuntimeActor",
    "RuntimeExists",
    "RuntimeNotFound",
    "RuntimeStopping",
    "SessionConflict",
    "SessionNotFound",
    "SpawnOptions",
    "StartFailed",
    "TaskFailed",
    "TaskOptions",
    "Tasks",
    "World",
]
