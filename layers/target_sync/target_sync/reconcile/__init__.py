"""The main job: make the targets of one target group equal to the addresses of one database."""
