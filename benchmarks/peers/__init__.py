"""What a user would pick instead, one a file."""
