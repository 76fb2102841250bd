"""`python -m burnish`: the same as the `burnish` command."""

from burnish.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
