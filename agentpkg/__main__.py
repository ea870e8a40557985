"""``python -m agentpkg`` and the ``agentpkg`` script."""

import sys


def main() -> None:
    """Runs the command line and exits with its code."""
    from agentpkg.cli import run
    from agentpkg.cli.streams import open_closed

    open_closed()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
