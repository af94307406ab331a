"""The network of a simulated cluster, on loopback addresses of this machine."""
