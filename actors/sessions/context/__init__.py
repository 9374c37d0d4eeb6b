"""The conversation: its messages in order, and what may be shown of them to a model."""
