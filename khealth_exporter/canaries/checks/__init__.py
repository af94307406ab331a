"""Users' own checks: what they may be, and how they say what they found."""
