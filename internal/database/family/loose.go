package family

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
)

// looseTables are user tables without transactions, as the account can see them.
type looseTables struct {
	engines []database.Engine
	names   []string
}

// looseLimit bounds the names that are kept to recognise writers.
const looseLimit = 1000

// systemSchemas hold no rows of users.
const systemSchemas = "'mysql', 'information_schema', 'performance_schema', 'sys', 'ndbinfo', 'mysql_innodb_cluster_metadata'"

// transactional engines need no table lock: a commit that is stalled is all there is to hold.
const transactional = "'InnoDB', 'ROCKSDB', 'TokuDB', 'ndbcluster', 'BLACKHOLE', 'FEDERATED', 'CONNECT', 'SPIDER', 'PERFORMANCE_SCHEMA', 'SEQUENCE'"

func (l *looseTables) any() bool { return l != nil && len(l.engines) > 0 }

// mentionedIn reports whether a statement names one of the tables.
func (l *looseTables) mentionedIn(text string) bool {
	if l == nil {
		return false
	}
	for _, name := range l.names {
		if strings.Contains(text, name) {
			return true
		}
	}
	return false
}

// looseTables returns what the last facts saw, or looks itself.
func (s *Server) looseTables(ctx context.Context) (*looseTables, error) {
	s.mu.Lock()
	known := s.loose
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	return s.readLoose(ctx)
}

func (s *Server) readLoose(ctx context.Context) (*looseTables, error) {
	rows, err := query(ctx, s.db, fmt.Sprintf(`SELECT TABLE_NAME AS name, ENGINE AS engine FROM information_schema.TABLES
		WHERE TABLE_TYPE = 'BASE TABLE' AND ENGINE IS NOT NULL AND TABLE_SCHEMA NOT IN (%s) AND ENGINE NOT IN (%s)`, systemSchemas, transactional))
	if err != nil {
		return nil, err
	}
	out := &looseTables{engines: countEngines(rows)}
	for _, r := range rows {
		if len(out.names) < looseLimit {
			out.names = append(out.names, r.first("name"))
		}
	}
	s.mu.Lock()
	s.loose = out
	s.mu.Unlock()
	return out, nil
}

func countEngines(rows []Row) []database.Engine {
	var out []database.Engine
	at := map[string]int{}
	for _, r := range rows {
		name := r.first("engine")
		i, ok := at[name]
		if !ok {
			i = len(out)
			at[name] = i
			out = append(out, database.Engine{Name: name})
		}
		out[i].Tables++
	}
	return out
}
