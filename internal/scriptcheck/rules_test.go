package scriptcheck

import (
	"fmt"
	"strings"
	"testing"
)

const oldHead = "#!/bin/bash\nset -e\n"

// Each case is a script, and the rules that find something in its lines: "3 lost-lock". Lines count from the shebang.
var cases = []struct {
	name    string
	purpose Purpose
	script  string
	want    string
}{
	{"lock in -e", Pre, `mysql -e "FLUSH TABLES WITH READ LOCK"`, "3 lost-lock"},
	{"lock in bundled options", Pre, `sudo -u root mariadb -NBe "lock tables a read"`, "3 lost-lock"},
	{"lock with --execute", Pre, `/usr/bin/mysql --execute='flush tables with read lock'`, "3 lost-lock"},
	{"lock in a container", Pre, `docker exec -i db mysql -e "FLUSH TABLES WITH READ LOCK"`, "3 lost-lock"},
	{"lock by a here string", Pre, `mysql <<< "FLUSH TABLES WITH READ LOCK"`, "3 lost-lock"},
	{"lock by a variable", Pre, "SQL='FLUSH TABLES WITH READ LOCK'\nmysql -e \"$SQL\"", "3 lost-lock"},
	{"lock by su", Pre, `su - mysql -c "mysql -e 'BACKUP STAGE START'"`, "3 lost-lock"},
	{"lock in a background client", Pre, `mysql -e "FLUSH TABLES WITH READ LOCK" &`, "3 lost-lock"},
	{"lock for a position only", Pre, `mysql -e "FLUSH TABLES WITH READ LOCK; SELECT 1; UNLOCK TABLES"`, ""},
	{"lock around a command of the client", Pre, `mysql -e "FLUSH TABLES WITH READ LOCK; system lvcreate -s x"`, ""},
	{"lock in a function's argument", Pre, "q() {\n  mysql -N -e \"$1\"\n}\nq 'FLUSH TABLES WITH READ LOCK'", "6 lost-lock"},
	{"lock in an array of words", Pre, "DB=(mysql -N)\n\"${DB[@]}\" -e 'FLUSH TABLES WITH READ LOCK'", "4 lost-lock"},
	{"lock in a comment of SQL", Pre, "mysql <<E\n-- FLUSH TABLES WITH READ LOCK;\n/* LOCK TABLES a read; */ SELECT 1;\nE", ""},
	{"lock in a word", Pre, `mysql -e "SELECT 'x; FLUSH TABLES WITH READ LOCK'"`, ""},
	{"lock in post", Post, `mysql -e "FLUSH TABLES WITH READ LOCK"`, ""},

	{"sleep", Pre, "sleep 5", "3 fixed-sleep"},
	{"sleep of a variable", Post, "sleep \"$DELAY\"", "3 fixed-sleep"},
	{"sleep in a counting loop", Pre, "for i in 1 2 3; do echo $i; sleep 1; done", "3 fixed-sleep"},
	{"sleep in the server", Pre, `mysql -e "DO SLEEP(5)"`, "3 fixed-sleep"},
	{"sleep while it looks", Pre, "while ! test -e /run/held; do sleep 1; done", ""},
	{"sleep forever to keep a pipe", Pre, "mkfifo /run/f; sleep infinity > /run/f &", ""},
	{"sleep of a watchdog", Pre, "( sleep 60; kill 1234 ) &", ""},

	{"role by grep", Pre, `if grep -q 'server-id *= *1$' /etc/my.cnf; then :; fi`, "3 role-by-server-id"},
	{"role by case", Pre, "id=$(mysql -Ne 'select @@server_id')\ncase $id in 1) echo source;; esac", "4 role-by-server-id"},
	{"role by arithmetic", Pre, "SERVER_ID=$(cat /x)\nif (( SERVER_ID == 1 )); then :; fi", "4 role-by-server-id"},
	{"role by [[", Pre, "MASTER=1\nsid=$(my_print_defaults mysqld | grep server-id)\n[[ \"$MASTER\" == \"${sid}\" ]] && echo source", "5 role-by-server-id"},
	{"role by SQL", Pre, `mysql -e "select if(@@server_id=1,'source','replica')"`, "3 role-by-server-id"},
	{"server_id set, unset or unlike", Pre, "id=$(mysql -Ne 'select @@server_id')\n[ \"$id\" -eq 0 ] && exit 1\n[ \"$id\" = \"$other\" ] && exit 1\nmysql -e 'SET GLOBAL server_id = 7'", ""},

	{"removed, with \\G", Pre, `mysql -e 'show slave status\G'`, "3 removed-statement"},
	{"removed, by a pipe", Pre, `echo "RESET MASTER;" | mysql`, "3 removed-statement"},
	{"removed, second line of a heredoc", Pre, "mysql <<E\nSELECT 1;\nCHANGE MASTER TO\n MASTER_DELAY=1;\nE", "5 removed-statement"},
	{"removed variable", Pre, `mysql -e "SET GLOBAL expire_logs_days = 3"`, "3 removed-statement"},
	{"both forms known", Pre, `mysql -e "SHOW BINARY LOG STATUS" || mysql -e "SHOW MASTER STATUS"`, ""},
	{"words that are no statements", Pre, `echo "SHOW MASTER STATUS is old"; grep "START SLAVE" /var/log/x || true`, ""},

	{"read_only off, not looked", Post, `mysql -e "SET GLOBAL read_only = 0"`, "3 read-only-off"},
	{"read_only off, looked", Post, "was=$(mysql -Ne 'SELECT @@read_only')\nmysql -e \"SET GLOBAL read_only = 0\"", ""},
	{"read_only off, looked too late", Post, "mysql -e \"SET GLOBAL super_read_only=OFF\"\nmysql -e \"SHOW VARIABLES LIKE 'read_only'\"", "3 read-only-off"},
	{"read_only put back", Post, `mysql -e "SET GLOBAL read_only = $was"`, ""},

	{"replication started", Post, `mysql -e "START REPLICA"`, "3 replication-started"},
	{"replication started by the admin", Post, `mysqladmin start-slave`, "3 replication-started"},
	{"replication started after a look", Post, "mysql -e 'SHOW REPLICA STATUS\\G' | grep -q Running\nmysql -e \"START REPLICA\"", ""},

	{"password", Pre, `mysqldump -uroot -pabc x > /dev/null`, "3 password"},
	{"password of a variable", Pre, `mysqladmin --password="$PW" ping`, "3 password"},
	{"password in a statement", Pre, `mysql -e "CREATE USER x IDENTIFIED BY 'abc'"`, "3 password"},
	{"password in the environment", Pre, `MYSQL_PWD=abc mysql -e "SELECT 1"`, "3 password"},
	{"password in env", Pre, `env MYSQL_PWD=abc mysql -e "SELECT 1"`, "3 password"},
	{"no password", Pre, "mysql -P 3306 -p -e 'SELECT 1'\nmysqladmin --password= ping\nMYSQL_PWD=$(cat /root/pw) mysql\nmkdir -p /x", ""},

	{"freeze", Pre, "fsfreeze --freeze /srv", "3 freeze-without-guard"},
	{"freeze with a guard", Pre, "(sleep 30; fsfreeze -u /srv) &\nfsfreeze --freeze /srv", ""},
	{"freeze with a timer", Pre, "systemd-run --on-active=30 fsfreeze -u /srv\nfsfreeze --freeze /srv", ""},

	{"no way back", Pre, "systemctl stop app\ncp -a /a /b", "3 no-rollback"},
	{"no way back from read_only", Pre, "mysql -e \"SET GLOBAL read_only = ON\"\ncp -a /a /b", "3 no-rollback"},
	{"trap", Pre, "trap 'systemctl start app' EXIT\nsystemctl stop app\ncp -a /a /b", ""},
	{"trap of a later function", Pre, "trap back EXIT\nsystemctl stop app\ncp -a /a /b\nback() { systemctl start app; }", ""},
	{"trap that runs post", Pre, "trap '/opt/post.sh' ERR\nsystemctl stop app\ncp -a /a /b", ""},
	{"trap that only removes", Pre, "trap 'rm -f /tmp/x' EXIT\nsystemctl stop app\ncp -a /a /b", "4 no-rollback"},
	{"undone on failure", Pre, "systemctl stop app\ncp -a /a /b || { systemctl start app; exit 1; }", ""},
	{"undone if not", Pre, "service app stop\nif ! cp -a /a /b; then service app start; exit 1; fi", ""},
	{"last step", Pre, "cp -a /a /b\nsystemctl stop app", ""},
	{"undone on the straight way", Pre, "systemctl stop app\nsystemctl start app\ncp -a /a /b", ""},
	{"post may change", Post, "systemctl stop app\ncp -a /a /b", ""},
}

func TestCases(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			findings := Check([]Script{{Path: "/x.sh", Content: []byte(oldHead + c.script + "\n"), Purpose: c.purpose}}, World{})
			var got []string
			for _, f := range findings {
				got = append(got, fmt.Sprint(f.Line, " ", f.Rule))
			}
			if strings.Join(got, ", ") != c.want {
				t.Errorf("found %q, want %q in\n%s", strings.Join(got, ", "), c.want, c.script)
			}
		})
	}
}

// A script that cannot fail hides what its steps did.
func TestStatus(t *testing.T) {
	for script, want := range map[string]bool{
		"fsfreeze -u /a\nexit 0":                                   true,
		"fsfreeze -u /a\necho done":                                true,
		"fsfreeze -u /a; rc=$?\necho $rc\nexit 0":                  true,
		"fsfreeze -u /a; rc=$?\n[ $rc -eq 0 ] || exit 1\nexit 0":   false,
		"fsfreeze -u /a\nif [ $? -ne 0 ]; then exit 1; fi\nexit 0": false,
		"fsfreeze -u /a || exit 1\nexit 0":                         false,
		"if ! fsfreeze -u /a; then exit 1; fi\nexit 0":             false,
		"set -e\nfsfreeze -u /a\nexit 0":                           false,
		"set -o errexit\nfsfreeze -u /a\nexit 0":                   false,
		"fsfreeze -u /a":                                           false,
		"fsfreeze -u /a\nexit $?":                                  false,
		"date > /tmp/x\nexit 0":                                    false,
		"for f in /h/*; do \"$f\" \"$@\"; done\nexit 0":            true,
		"for f in /h/*; do \"$f\" \"$@\" || exit 1; done\nexit 0":  false,
		"mysql -e 'SELECT 1'\nexit 0":                              false,
		"echo 'FLUSH TABLES WITH READ LOCK' >&3\nexit 0":           false,
		"back() { fsfreeze -u /a; }\nback || exit 1\nexit 0":       false,
		"back() { fsfreeze -u /a; }\nback\nexit 0":                 true,
	} {
		findings := Check([]Script{{Path: "/x.sh", Content: []byte("#!/bin/sh\n" + script + "\n"), Purpose: Post}}, World{})
		if got := strings.Contains(said(findings), "status-ignored"); got != want {
			t.Errorf("found %v, want %v:\n%s\n%s", got, want, script, said(findings))
		}
	}
}

// Statements are judged by the server that is there; without one, by those that will not have them.
func TestVersions(t *testing.T) {
	for _, c := range []struct {
		statement string
		world     World
		want      string
	}{
		{"SHOW MASTER STATUS", World{}, "from 8.4 on"},
		{"SHOW MASTER STATUS", World{Product: "mysql", Version: "8.0.36"}, ""},
		{"SHOW MASTER STATUS", World{Product: "mysql", Version: "8.4.0"}, "this server (mysql 8.4.0)"},
		{"SHOW MASTER STATUS", World{Product: "percona", Version: "8.4.2-2"}, "this server"},
		{"SHOW MASTER STATUS", World{Product: "mariadb", Version: "11.8.2-MariaDB"}, ""},
		{"STOP SLAVE SQL_THREAD", World{Product: "mysql", Version: "9.7.0"}, "write STOP REPLICA"},
		{"SHOW REPLICA STATUS", World{Product: "mysql", Version: "5.7.44"}, "write SLAVE"},
		{"SHOW REPLICA STATUS", World{Product: "mysql", Version: "8.0.22"}, ""},
		{"START REPLICA", World{Product: "mariadb", Version: "10.4.30-MariaDB"}, "this server"},
		{"START REPLICA", World{Product: "mariadb", Version: "10.11.6-MariaDB"}, ""},
		{"BACKUP STAGE END", World{Product: "mysql", Version: "9.7.0"}, "this server"},
		{"BACKUP STAGE END", World{Product: "mariadb", Version: "10.3.1"}, "this server"},
		{"BACKUP STAGE END", World{}, ""},
		{"UNLOCK INSTANCE", World{Product: "mariadb", Version: "11.8.2"}, "this server"},
		{"SHOW BINARY LOG STATUS", World{Product: "mariadb", Version: "11.8.2"}, "this server"},
		{"SHOW BINARY LOG STATUS", World{Product: "mysql", Version: "8.0.40"}, "this server"},
		{"SHOW ALL SLAVES STATUS", World{Product: "mysql", Version: "5.7.44"}, "this server"},
		{"SHOW BINARY LOGS", World{Product: "mysql", Version: "9.7.0"}, ""},
	} {
		script := "#!/bin/sh\nmysql -e '" + c.statement + "'\n"
		var got string
		for _, f := range Check([]Script{{Path: "/x.sh", Content: []byte(script), Purpose: Pre}}, c.world) {
			if f.Rule == "removed-statement" {
				got += f.What + " " + f.Remedy
			}
		}
		if c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%s on %+v: %q, want %q", c.statement, c.world, got, c.want)
		}
	}
}
