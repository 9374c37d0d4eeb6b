"""The bus's pure cores under one seeded scheduler with virtual time: faults at every seam, and checks."""
