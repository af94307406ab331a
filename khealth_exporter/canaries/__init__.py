"""What routines are made of: objects that an attempt owns, sets of pods, diagnosis, evidence."""
