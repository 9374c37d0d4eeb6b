from llmgine.providers.clients.client import Answer, Call, Client
from llmgine.providers.clients.pool import Site, lease, load, release
from llmgine.providers.clients.routes import url_of

__all__ = ["Answer", "Call", "Client", "Site", "lease", "load", "release", "url_of"]
