"""What agents ask the cluster's DNS, and what their answers say of it."""
