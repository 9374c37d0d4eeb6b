from llmgine.actors.store.sql.database import SqlEngine

__all__ = ["SqlEngine"]
