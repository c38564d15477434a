"""`python -m helpers.bench`."""

import sys

from helpers.bench.stack import main

if __name__ == "__main__":
    sys.exit(main())
