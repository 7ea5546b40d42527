"""`python -m barback` is the `barback` command."""

import sys

from barback.cli import main

if __name__ == "__main__":
    sys.exit(main())
