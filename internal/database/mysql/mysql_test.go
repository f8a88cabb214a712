package mysql_test

import (
	"testing"

	"github.com/holdstill/holdstill/internal/database/databasetest"
	"github.com/holdstill/holdstill/internal/database/family"
	"github.com/holdstill/holdstill/internal/database/mysql"
)

var tested = databasetest.Make{
	Open: mysql.Open, Undoers: family.Undoers(mysql.Dialect()),
	Builds: []string{"mysql-9.7", "mysql-5.7"},
}

func TestMain(m *testing.M) { databasetest.Main(m, tested) }

func TestConformance(t *testing.T) { databasetest.Run(t, tested) }
