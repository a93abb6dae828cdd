"""A layer's kernels: what a convolution or a linear layer multiplies by."""
