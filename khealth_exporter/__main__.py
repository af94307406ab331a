"""`python -m khealth_exporter` is `khealth`."""

import sys

from khealth_exporter.cli import main

if __name__ == "__main__":
    sys.exit(main())
