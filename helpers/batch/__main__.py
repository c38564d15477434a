"""`python -m helpers.batch`. SIGTERM and SIGHUP end it like Ctrl-C, with exit code 143 or 129."""

import sys

from helpers.batch.run import main
from helpers.signals import terminable

if __name__ == "__main__":
    with terminable(KeyboardInterrupt) as came:
        try:
            code = main()
        except KeyboardInterrupt:
            if not came:
                raise
    sys.exit(128 + came[0] if came else code)
