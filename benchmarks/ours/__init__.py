"""llmgine as it is measured, one case a file."""
