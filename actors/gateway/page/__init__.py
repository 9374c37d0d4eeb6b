"""The dashboard: static files, shipped with the package."""
