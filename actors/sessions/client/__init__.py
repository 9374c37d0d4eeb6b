"""The driver's side of a session."""
