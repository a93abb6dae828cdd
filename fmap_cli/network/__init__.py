"""One pass, looked at: capture, names, selection, kinds, axes."""
