if __name__ != "llmgine.telemetry":
    raise ImportError(f"import llmgine.telemetry, not {__name__}")
