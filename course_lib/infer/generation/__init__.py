"""Generating text: decoding loop, KV cache, sampling, speculative decoding."""
