if __name__ != "llmgine.runtime":
    raise ImportError(f"import llmgine.runtime, not {__name__}")
