"""Other people's code: run, contained, and put in words where it fails."""
