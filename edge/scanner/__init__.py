"""The role that runs on a unit: from frames to kept, published, confirmed scans."""
