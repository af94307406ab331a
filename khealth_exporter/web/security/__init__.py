"""TLS, passwords, limits, and the web configuration file."""
