"""One vector an image."""
