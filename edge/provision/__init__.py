"""The technician's and the operator's tool: a deployment, its certificates, its cards."""
