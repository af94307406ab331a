"""The words that all parts share; imports nothing of khealth's."""
