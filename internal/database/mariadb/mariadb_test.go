package mariadb_test

import (
	"testing"

	"github.com/holdstill/holdstill/internal/database/databasetest"
	"github.com/holdstill/holdstill/internal/database/family"
	"github.com/holdstill/holdstill/internal/database/mariadb"
)

var tested = databasetest.Make{
	Open: mariadb.Open, Undoers: family.Undoers(mariadb.Dialect()),
	Builds: []string{"mariadb-10.11", "mariadb-11.8"}, NoReader: true,
}

func TestMain(m *testing.M) { databasetest.Main(m, tested) }

func TestConformance(t *testing.T) { databasetest.Run(t, tested) }
