"""What a session writes down of itself, so that it goes on after its process."""
