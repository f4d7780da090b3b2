"""The computing behind the diffusion nodes; imported when a node runs. `layout` and `samplers` are light."""
