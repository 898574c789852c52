"""The parts of a transformer, imported from their modules; none of them depends on the model that uses it.

To read the room, begin with `attention`, where `attention_with_weights` is the equation and `MultiHeadAttention` the
layer; then `feed_forward`, `norms`, and `block`, which joins them; then `positions`, `moe` and `cache`. `embed` and
`storage` are small helpers, and `kernels` has faster forms of some parts.
"""
