"""How khealth proves to the API server who it is."""
