"""The role that stores scans once and confirms them to their units."""
