"""Runs khealth as if it were in a pod: its service account is in the folder that is named first."""

import sys
from pathlib import Path

from khealth_exporter.cli import main
from khealth_exporter.cluster.credentials import service_account

if __name__ == "__main__":
    service_account.SERVICE_ACCOUNT = Path(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
