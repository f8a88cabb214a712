package tables

import (
	"context"

	"github.com/holdstill/holdstill/internal/schema"
)

// keepers tell of what keeps a server's keys: a plugin (MariaDB, and MySQL before 8.4), or a component (MySQL since 8.0.24). Servers know one or both.
var keepers = []string{
	"SELECT PLUGIN_NAME AS keeper FROM information_schema.PLUGINS WHERE PLUGIN_STATUS = 'ACTIVE' AND (PLUGIN_TYPE = 'ENCRYPTION' OR PLUGIN_NAME LIKE 'keyring\\_%' AND PLUGIN_NAME <> 'keyring_udf')",
	"SELECT STATUS_VALUE AS keeper FROM performance_schema.keyring_component_status WHERE STATUS_KEY = 'Component_status' AND STATUS_VALUE = 'Active'",
}

// keyless tells whether a server surely has no keys to encrypt with. What cannot be asked is not sure.
func keyless(ctx context.Context, q schema.Querier) bool {
	for i, question := range keepers {
		rows, err := schema.Ask(ctx, q, question)
		if len(rows) > 0 || err != nil && i == 0 {
			return false
		}
	}
	return true
}

// noKeysHelp is what helps where tables are encrypted, and the server is not able to.
const noKeysHelp = "give the server keys (MySQL: a keyring component, MariaDB: a plugin such as file_key_management); or restore the point beside it, alter the tables there to ENCRYPTION='N' (MariaDB: ENCRYPTED=NO), and dump them"
