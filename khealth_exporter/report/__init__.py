"""What `khealth once` prints."""
