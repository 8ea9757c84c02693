"""The main job on one machine: a broker, a collector and a scanner, shown live."""
