"""Agents: where they run, how they are asked, and which component is to blame if they are silent."""
