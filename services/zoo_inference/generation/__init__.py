"""An engine of our own: continuous batching over transformers' model classes.

engine (thread and queues) -> scheduler (who runs) -> runner (tokens through the model) -> sampler -> sequence
(one request: detokenizer, stops, timings)
"""
