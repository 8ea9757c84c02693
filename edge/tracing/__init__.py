"""The tracing desk: the only place that can open who was scanned."""
