"""Constants that several packages share."""

IGNORE_INDEX = -100  # targets with this value are left out of the loss: torch's own default in `cross_entropy`
