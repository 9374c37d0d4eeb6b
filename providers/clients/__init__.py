from llmgine.providers.clients.client import Answer, Call, Client
from llmgine.providers.clients.pool import Site, lease, load, release

__all__ = ["Answer", "Call", "Client", "Site", "lease", "load", "release"]
