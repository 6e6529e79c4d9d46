"""The Outputs API: gRPC services over the one source, for callers who are known and allowed to ask.

Nothing here reads Porter's documents or writes to a sink. What is in `_generated` is made from `proto/`.
"""
