"""Security of the web server: TLS, authentication, request limits, and the web configuration file."""
