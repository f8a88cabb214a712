#!/usr/bin/env python3
# os.system("mysql -psecret -e 'FLUSH TABLES WITH READ LOCK'")
import subprocess, sys, time
HELP = "FLUSH TABLES WITH READ LOCK; sleep(5)"
holder = subprocess.Popen(["mysql", "--defaults-extra-file=/etc/backup.cnf"], stdin=subprocess.PIPE, start_new_session=True)
try:
    holder.stdin.write(b"FLUSH TABLES WITH READ LOCK; SELECT 1;\n")
    while not answered(holder):
        time.sleep(0.1)
except Exception:
    holder.kill()
    sys.exit(1)
