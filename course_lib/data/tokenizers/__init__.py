"""Text to numbers and back: characters, byte-level BPE to read and to use, published tokenizers, chat templates."""
