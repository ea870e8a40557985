"""``python -m agentpkg.relay STATE``, started by :mod:`agentpkg.relay.client` with JSON on standard input."""

import sys
from pathlib import Path

from agentpkg.relay.main import main

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.stdin.buffer.read()))
