"""Puts new versions of the software in place, and takes them back by itself.

Three services, none of which has both a network and rights over the machine:

`edge-update-fetch`    without rights, asks the web server or a stick what there is, and copies it.
`edge-update`          root, without a network: verifies all of it again, and says when and whether.
`edge-update-trial`    root: puts the version in place, looks whether the unit scans, or goes back.

The trial runs from a copy of the software of before, and its own unit file lies in /etc while it
lasts, so whatever the new version is, and whenever the power goes, the way back is there.
"""
