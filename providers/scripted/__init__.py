from llmgine.providers.scripted.script import Fault, Reply, Script, ScriptedCall, ScriptedUsage

__all__ = ["Fault", "Reply", "Script", "ScriptedCall", "ScriptedUsage"]
