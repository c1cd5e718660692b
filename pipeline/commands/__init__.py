"""One module for each command of the `souk` command line, each with a click command named `command`."""
