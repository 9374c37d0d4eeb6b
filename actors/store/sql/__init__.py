from llmgine.actors.store.sql.engine import SqlEngine
from llmgine.actors.store.sql.opening import database_of

__all__ = ["SqlEngine", "database_of"]
