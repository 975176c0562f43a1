"""The networks that recipes can name: ordinary PyTorch modules, one file each.

To add one: write a file with a `Plan` and enter it in `NetworkConfig` of `tesla_embed.nn.networks`.
"""
