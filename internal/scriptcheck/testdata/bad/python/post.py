#!/usr/bin/python3
import subprocess
subprocess.run(["mysql", "-e", "SET GLOBAL read_only = OFF; START REPLICA"])
