"""`python -m helpers.batch`."""

import sys

from helpers.batch.run import main

if __name__ == "__main__":
    sys.exit(main())
