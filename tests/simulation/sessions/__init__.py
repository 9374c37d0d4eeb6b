"""Whole runtimes under a seeded loop with virtual time: sessions, and all that they stand on."""
