"""What a network's forward, backward and optimiser step take of memory, from shapes alone.

`tracing` runs one step on the meta device and follows every storage; `emulation` makes that device behave like the one
that is asked about; `worst_case` gives shapes that depend on data their upper bound; `allocator` is CUDA's caching
allocator in a few lines; `replay` puts a trace through it at any batch. Nothing of this allocates what it counts.
"""
