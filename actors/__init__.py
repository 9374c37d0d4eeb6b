if __name__ != "llmgine.actors":
    raise ImportError(f"import llmgine.actors, not {__name__}")
