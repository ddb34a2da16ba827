"""Layers with which a network decides what its tasks share.

Conditioning tells the network which task it is doing, experts mix specialists by relevance,
exchange and attention let towers of tasks read from each other.
"""

__all__: list[str] = []
