"""Watches: what exists, and every change of it as it arrives."""
