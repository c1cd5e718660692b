"""Runs the serving program: `python -m serving.server --model-dir DIR`."""

from serving.server.command import main

if __name__ == "__main__":
    main()
