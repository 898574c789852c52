"""Running language models: generation with a KV cache, constrained decoding, weights in fewer bits, a server.

From tokens to tokens: `generation.generate` and `generation.speculative`, with a `generation.sampling.Sampling`;
`quantization.quantize` for less memory. From text to text: `generation.open_model` opens a model with its tokenizer as
a `generation.text_generator.TextGenerator`, which writes as a stream. Grammars are in `constrained.grammar` and need
llguidance; the `server` needs FastAPI.
"""
