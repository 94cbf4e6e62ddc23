"""`python -m daemon` is `ferryman`."""

from daemon.cli.main import main

if __name__ == "__main__":
    main()
