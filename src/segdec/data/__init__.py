"""From files on disk to batches of tensors: readers, splits, loader, synthetic data."""
