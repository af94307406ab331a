"""The status page: one self-contained HTML document, and an icon for each state."""

from khealth_exporter.web.page.document import CONTENT_SECURITY_POLICY, status_page
from khealth_exporter.web.page.state_icons import favicon

__all__ = ["CONTENT_SECURITY_POLICY", "favicon", "status_page"]
