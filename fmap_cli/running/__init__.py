"""Runs over many images, whatever is found in them: read, noted down, gone on with, shared out over processes."""
