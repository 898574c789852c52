"""Text to token ids and back: byte-level BPE, published tokenizers, chat templates."""
