"""python -m engine: see engine/cli/parser.py."""

import sys

from engine.cli.parser import main

if __name__ == "__main__":
    sys.exit(main())
