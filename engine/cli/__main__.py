"""`python -m latentgraph.engine.cli`, where the console script is not installed."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
