"""A model on its device, and its passes over inputs."""
