"""An archive of radiographs in, a data set of mined localizations out.

Beside `service` and `training`: it knows `localization`, and neither of the two.
"""
