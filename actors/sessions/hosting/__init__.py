"""Sessions as they live in an actor's process."""
