"""Running language models: generation, its cache and constraints, weights in fewer bits, a server.

From tokens to tokens: sampling, generate, speculative, quantize, constrain with json_schema. From text to text: load
opens a model with its tokenizer as a text model, which writes as a stream; command and serve are what the shell calls.
"""
