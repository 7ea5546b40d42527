"""Where sessions rest: the seam, the drivers, and how a URL names one."""
