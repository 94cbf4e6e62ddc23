"""Records: what apps and branch offices write while they are offline, and how it becomes one."""
