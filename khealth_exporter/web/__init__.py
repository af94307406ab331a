"""The web server: figures for Prometheus, state for scripts, and a page for people."""
