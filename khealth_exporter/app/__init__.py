"""Wiring: configuration, cluster, collectors and the web server."""
