"""The service measured against the machine's own limit, and against LitServe; not shipped."""
