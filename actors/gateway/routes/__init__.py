"""What stands below /api/v1, as tables of endpoints: the routes, and the description that clients read."""
