"""Names, shapes and costs of layers."""
