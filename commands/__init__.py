"""The command line, `cxr-localizer`."""
