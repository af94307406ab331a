"""khealth: a Kubernetes canary and Prometheus exporter."""

__version__ = "0.1.0"
