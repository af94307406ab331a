"""One file each: the exercises that khealth can do."""
