"""What any process of a runtime stands on: a name, the control plane, and links to actors."""

from __future__ import annotations

from collections.abc import Mapping
from weakref import WeakValueDictionary

from llmgine.actors.control.client import ControlClient
from llmgine.actors.control.cluster import Cluster
from llmgine.actors.control.errors import ActorGone, ClusterGone
from llmgine.actors.link import Address, Identity, Peer, PeerGone, StreamHandler, Transport


class Ground:
    """The links of one process to the runtime's actors, one each, found through the cluster.

    A link is kept while somebody holds it or it is connected, so that the actors of ended sessions
    leave nothing behind in a process that lives on.
    """

    def __init__(self, runtime: str, identity: Identity, cluster: Cluster, transport: Transport) -> None:
        self.identity = identity
        self.cluster = cluster
        self.transport = transport
        self.control = ControlClient(cluster, runtime)
        self._peers: WeakValueDictionary[str, Peer] = WeakValueDictionary()

    def peer(self, name: str, handlers: Mapping[str, StreamHandler] | None = None) -> Peer:
        """The link to an actor; `handlers` serve what the actor opens, and count where the link is new."""
        peer = self._peers.get(name)
        if peer is None:
            peer = Peer(name, lambda: self._resolve(name), self.transport, self.identity, handlers or {})
            self._peers[name] = peer
        return peer

    def forget(self, name: str) -> None:
        """Closes the link to an actor that will not be talked to again."""
        peer = self._peers.pop(name, None)
        if peer is not None:
            peer.close()

    async def _resolve(self, name: str) -> Address:
        try:
            return await self.cluster.resolve(name)
        except (ActorGone, ClusterGone) as error:
            raise PeerGone(str(error)) from None

    def close(self) -> None:
        """Closes every link."""
        for name in list(self._peers):
            self.forget(name)
