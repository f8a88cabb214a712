package family

import (
	"context"
	"database/sql"

	"github.com/holdstill/holdstill/internal/database"
)

// Pool opens a pool over an endpoint, for those who speak SQL of their own to a server that they made (restore, replica). It has
// not connected yet. The caller closes it.
func Pool(_ context.Context, e database.Endpoint) (*sql.DB, error) {
	e, login, err := complete(e)
	if err != nil {
		return nil, err
	}
	return connector(e, login, false)
}
