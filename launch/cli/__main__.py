"""``python -m launch.cli``: the command ``codeact`` where its script is not on the path."""

from launch.cli import main

main()
