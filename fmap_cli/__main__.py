"""`python -m fmap_cli` works like `fmap`."""

from fmap_cli.cli import main

if __name__ == "__main__":
    main()
