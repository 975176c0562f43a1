"""Networks that run at several dot-product percentages: profiles, layers, networks, export."""
