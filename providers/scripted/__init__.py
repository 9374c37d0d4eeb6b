from llmgine.providers.catalogue.scripts import Fault, Reply, Script, ScriptedCall, ScriptedUsage

__all__ = ["Fault", "Reply", "Script", "ScriptedCall", "ScriptedUsage"]
