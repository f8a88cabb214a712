#!/usr/bin/env python3
"""Holds the database; sleep(5) here is text."""
import os, subprocess, sys, time
import pymysql

PASSWORD = "hunter2-secret"
server_id = int(open("/etc/mysql/id").read())

def quiesce():
    if server_id == 1:
        os.system("mysql -uroot -phunter2-secret -e 'FLUSH TABLES WITH READ LOCK'")
    subprocess.check_call(["mysql", "-u", "root", "--password=" + PASSWORD,
                           "-e", "STOP SLAVE"])
    db = pymysql.connect(host="localhost", user="root", passwd=PASSWORD)
    db.cursor().execute("FLUSH TABLES WITH READ LOCK")  # gone when we end
    db.cursor().execute("""
        SHOW MASTER STATUS
    """)
    os.environ["MYSQL_PWD"] = "hunter2-secret"
    time.sleep(5)

quiesce()
sys.exit(0)
