package schema

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
)

// Read asks a server what it holds. What the account may not see is not there: information_schema hides it without a word.
func Read(ctx context.Context, db *sql.DB) (s *Server, err error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("cannot ask what the server holds: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	s = &Server{}
	for _, part := range []func(context.Context, Querier, *Server) error{readServer, readDatabases, readTables, readPartitions,
		readRoutines, readTriggers, readEvents, readAccounts} {
		if err := part(ctx, conn, s); err != nil {
			return nil, fmt.Errorf("cannot read what the server holds: %w", err)
		}
	}
	return s, nil
}

func readServer(ctx context.Context, q Querier, s *Server) error {
	rows, err := Ask(ctx, q, "SELECT VERSION() AS version, @@lower_case_table_names AS folds")
	if err != nil {
		return err
	}
	s.Version, s.FoldsCase = rows[0]["version"], rows[0]["folds"] != "0"
	s.Product = database.MySQL
	if strings.Contains(strings.ToLower(s.Version), "mariadb") {
		s.Product = database.MariaDB
	}
	if s.Product == database.MySQL && !strings.HasPrefix(s.Version, "5.") {
		// else 8.0 and later tell sizes that they knew a day ago
		_, err = Ask(ctx, q, "SET SESSION information_schema_stats_expiry = 0")
	}
	return err
}

// notOwn keeps the server's own databases out; %s is the column.
const notOwn = "LOWER(%s) NOT IN ('mysql', 'sys', 'information_schema', 'performance_schema', 'ndbinfo')"

func without(column string) string { return fmt.Sprintf(notOwn, column) }

func readDatabases(ctx context.Context, q Querier, s *Server) error {
	// all columns: of the encryption only MySQL knows, since 8.0.16
	rows, err := Ask(ctx, q, "SELECT * FROM information_schema.SCHEMATA WHERE "+without("SCHEMA_NAME")+" ORDER BY SCHEMA_NAME")
	for _, r := range rows {
		s.Databases = append(s.Databases, Database{Name: r["schema_name"], Charset: r["default_character_set_name"],
			Collation: r["default_collation_name"], Encrypted: r["default_encryption"] == "YES", Tables: []Table{}})
	}
	return err
}

func readTables(ctx context.Context, q Querier, s *Server) error {
	rows, err := Ask(ctx, q, "SELECT TABLE_SCHEMA AS db, TABLE_NAME AS name, TABLE_TYPE AS type, ENGINE AS engine, TABLE_ROWS AS `rows`, "+
		"DATA_LENGTH AS data, INDEX_LENGTH AS idx, ROW_FORMAT AS row_format, TABLE_COLLATION AS collation, CREATE_OPTIONS AS options, "+
		"TABLE_COMMENT AS comment FROM information_schema.TABLES WHERE "+without("TABLE_SCHEMA")+" ORDER BY TABLE_SCHEMA, TABLE_NAME")
	for _, r := range rows {
		if d := s.Database(r["db"]); d != nil {
			d.Tables = append(d.Tables, table(r))
		}
	}
	return err
}

func table(r Record) Table {
	options := strings.ToLower(strings.NewReplacer("`", "", `"`, "", "'", "").Replace(r["options"]))
	t := Table{
		Database: r["db"], Name: r["name"], Kind: kindOf(r["type"]), Engine: r["engine"], Rows: r.number("rows"),
		DataBytes: r.number("data"), IndexBytes: r.number("idx"), RowFormat: r["row_format"], Collation: r["collation"],
		Options: r["options"], Comment: r["comment"],
		Encrypted: strings.Contains(options, "encryption=y") || strings.Contains(options, "encrypted=yes"),
		Compressed: strings.EqualFold(r["row_format"], "compressed") || strings.Contains(options, "page_compressed=1") ||
			strings.Contains(options, "compression=zlib") || strings.Contains(options, "compression=lz4"),
	}
	if t.Kind == View {
		t.Comment = "" // it says VIEW, or what is wrong with it
		if r["comment"] != "VIEW" {
			t.Problem = r["comment"]
		}
	} else if t.Engine == "" {
		t.Comment, t.Problem = "", r["comment"] // this is where servers put why they cannot open a table
	}
	return t
}

func kindOf(kind string) Kind {
	switch kind {
	case "VIEW", "SYSTEM VIEW":
		return View
	case "SEQUENCE":
		return Sequence
	case "SYSTEM VERSIONED":
		return Versioned
	}
	return Base
}

func readPartitions(ctx context.Context, q Querier, s *Server) error {
	rows, err := Ask(ctx, q, "SELECT TABLE_SCHEMA AS db, TABLE_NAME AS tab, COALESCE(SUBPARTITION_NAME, PARTITION_NAME) AS part FROM information_schema.PARTITIONS "+
		"WHERE PARTITION_NAME IS NOT NULL AND "+without("TABLE_SCHEMA")+" ORDER BY TABLE_SCHEMA, TABLE_NAME, PARTITION_ORDINAL_POSITION, SUBPARTITION_ORDINAL_POSITION")
	for _, r := range rows {
		if t := s.Table(Name{r["db"], r["tab"]}); t != nil {
			t.Partitions = append(t.Partitions, r["part"])
		}
	}
	return err
}
