"""How a time is taken, and how far it can be trusted."""
