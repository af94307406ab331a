"""What the log never holds."""

import logging

import pytest
import structlog

from khealth_exporter.cli import logs


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_the_log_holds_no_secret(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """Neither in a field nor in a traceback, of khealth or of a library."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        logs.configure("info", form)
        error = OSError("407, url='http://joe:s3cr@proxy:1'")
        structlog.get_logger("khealth_exporter.a").error(
            "no way http://joe:s3cr@proxy:1", note="Bearer s3crS3CR", exc_info=error
        )
        logging.getLogger("asyncio").error("to http://joe:s3cr@proxy:1", exc_info=error)
    finally:
        root.handlers, root.level = handlers, level
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
    written = capsys.readouterr().err
    assert (False, 4) == ("s3cr" in written, written.count("http://proxy:1"))
