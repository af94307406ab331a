"""The only part that knows Kubernetes' API."""
