"""What several rooms must agree on."""

IGNORE_INDEX = -100  # the target that no loss counts: torch's own default in `cross_entropy`
