package scriptcheck_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/holdstill/holdstill/internal/lab"
	"github.com/holdstill/holdstill/internal/lab/labtest"
	"github.com/holdstill/holdstill/internal/scriptcheck"
)

// missing are what servers answer to what they do not have: a syntax error, an unknown variable, table, schema or engine feature.
var missing = []uint16{1064, 1193, 1146, 1049, 1235}

// What the table of statements says of a server is what that server says.
func TestStatementsOnServers(t *testing.T) {
	labtest.WideMatrix(t, func(t *testing.T, b lab.Build) {
		l := labtest.New(t)
		s, err := l.Server(t.Context(), b, lab.Spec{Name: "db"})
		if err == nil {
			err = s.Start(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
		version, err := s.Value(t.Context(), "SELECT VERSION()")
		if err != nil {
			t.Fatal(err)
		}
		db, err := s.DB()
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		product := map[bool]string{true: "mariadb", false: "mysql"}[b.Product == lab.MariaDB]
		for _, statement := range []string{
			"SHOW MASTER STATUS", "SHOW MASTER LOGS", "PURGE MASTER LOGS TO 'none'", "SHOW SLAVE STATUS", "SHOW SLAVE HOSTS", "START SLAVE", "STOP SLAVE",
			"RESET SLAVE", "CHANGE MASTER TO MASTER_PORT = 3306", "SET GLOBAL expire_logs_days = 3", "SHOW ALL SLAVES STATUS", "BACKUP STAGE START",
			"BACKUP STAGE END", "LOCK INSTANCE FOR BACKUP", "UNLOCK INSTANCE", "SHOW BINARY LOG STATUS", "SHOW REPLICA STATUS", "STOP REPLICA",
			"SELECT * FROM performance_schema.log_status", "SHOW BINARY LOGS", "FLUSH TABLES WITH READ LOCK", "UNLOCK TABLES", "RESET MASTER",
		} {
			_, err := db.ExecContext(t.Context(), statement)
			var refused *mysql.MySQLError
			lacks := errors.As(err, &refused) && slices.Contains(missing, refused.Number)
			if told := toldMissing(statement, product, version); told != lacks {
				t.Errorf("%s on %s %s: the table says missing=%v, the server %v", statement, product, version, told, err)
			}
		}
	})
}

func toldMissing(statement, product, version string) bool {
	script := scriptcheck.Script{Path: "/x", Content: []byte("#!/bin/sh\nmysql <<'E'\n" + statement + "\nE\n"), Purpose: scriptcheck.Pre}
	return slices.ContainsFunc(scriptcheck.Check([]scriptcheck.Script{script}, scriptcheck.World{Product: product, Version: version}),
		func(f scriptcheck.Finding) bool { return f.Rule == "removed-statement" })
}
