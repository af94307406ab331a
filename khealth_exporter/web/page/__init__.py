"""The status page: one HTML document that needs nothing else, and the picture of a state."""

from khealth_exporter.web.page.document import CONTENT_SECURITY_POLICY, status_page
from khealth_exporter.web.page.icon import favicon

__all__ = ["CONTENT_SECURITY_POLICY", "favicon", "status_page"]
