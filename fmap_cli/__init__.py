"""fmap shows what a convolutional network sees: feature maps, statistics and shapes."""
