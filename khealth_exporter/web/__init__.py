"""The web server: metrics for Prometheus, status for scripts, and a status page for people."""
