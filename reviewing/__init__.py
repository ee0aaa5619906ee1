"""People review what was mined: a local page, a log of decisions, the reviewed data set."""
