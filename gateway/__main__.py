"""`python -m gateway` is `jobgate`."""

from gateway.cli import main

if __name__ == "__main__":
    main()
