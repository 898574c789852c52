"""From samples to batches: splits, order, packing and augmentation."""
