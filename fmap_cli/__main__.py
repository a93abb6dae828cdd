"""`python -m fmap_cli` works like `fmap`."""

import os

if __name__ == "__main__":
    try:
        from fmap_cli.cli import main

        main()
    except KeyboardInterrupt:  # before `main` was there to answer it
        os.write(2, b"fmap: interrupted.\n")
        os._exit(130)
