"""Configures the log: standard error, one line for each entry, including the warnings of libraries."""

import logging
import sys

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from khealth_exporter.cluster.redaction import redacted

_ORDER = ("ts", "level", "msg")


def configure(level: str, form: str) -> None:
    """Log entries of at minimum `level`, as `logfmt` or `json`, with times in UTC.

    Libraries log warnings and errors only, at any `level`: below that, some of them log headers and bodies.
    """
    minimum = logging.getLevelNamesMapping()[level.upper()]
    entry: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
        _without_secrets,
    ]
    line: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.EventRenamer("msg"),
        _renderer(form),
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=entry, processors=line))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(minimum, logging.WARNING))
    logging.getLogger("khealth_exporter").setLevel(minimum)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[*entry, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(minimum),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _without_secrets(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """Redact every text of an entry, a traceback too: exceptions of libraries quote URLs and headers."""
    return {key: redacted(value) if isinstance(value, str) else value for key, value in entry.items()}


def _renderer(form: str) -> Processor:
    if form == "json":
        return structlog.processors.JSONRenderer(ensure_ascii=False, default=str)
    return structlog.processors.LogfmtRenderer(key_order=_ORDER, bool_as_flag=False)
