"""The role that plays many units at once, to size a deployment and to test one."""
