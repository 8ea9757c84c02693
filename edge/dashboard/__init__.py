"""The role that shows the centre's people what units do: pages, reports and alarms."""
