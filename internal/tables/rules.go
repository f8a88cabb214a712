package tables

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/schema"
)

// A rule says why a table's files cannot be taken over; "" if it knows of nothing.
type rule struct {
	name string
	says func(*World, *Detail, Request) string
}

// rules are all of them. A rule that is missing costs time only: a server refuses what it cannot import, in the staging, and then the
// table is loaded from a dump.
var rules = []rule{
	{"another product", func(w *World, _ *Detail, _ Request) string {
		return ifElse(isMariaDB(w.Point) != isMariaDB(w.Live.Server), "the point is of %s and the live server is %s, whose files differ", w.Point.Product, w.Live.Product)
	}},
	{"another series", func(w *World, _ *Detail, _ Request) string {
		return ifElse(series(w.Point.Version) != series(w.Live.Version), "the point is of version %s and the live server is %s", w.Point.Version, w.Live.Version)
	}},
	{"elsewhere", func(w *World, _ *Detail, _ Request) string {
		return ifElse(w.Live.Datadir == "", "the live server's data directory is not on this machine")
	}},
	{"binary log", func(w *World, _ *Detail, r Request) string {
		return ifElse(w.Live.On("log_bin") && !r.LocalOnly, "the live server writes a binary log, which cannot carry files to its replicas and its archive (--local-only leaves them out)")
	}},
	{"page size", func(w *World, _ *Detail, _ Request) string {
		return ifElse(w.PointVars["innodb_page_size"] != w.Live.Vars["innodb_page_size"], "the page size is %s there and %s here", w.PointVars["innodb_page_size"], w.Live.Vars["innodb_page_size"])
	}},
	{"shared tablespace", func(w *World, d *Detail, _ Request) string {
		return ifElse(innodb(d) && w.Live.Vars["innodb_file_per_table"] == "OFF", "the live server keeps tables in its system tablespace (innodb_file_per_table)")
	}},
	{"engine", func(_ *World, d *Detail, _ Request) string {
		return ifElse(!portableEngine[strings.ToLower(d.Table.Engine)], "the engine %s has no files that another server can take over", d.Table.Engine)
	}},
	{"data directory", func(_ *World, d *Detail, _ Request) string {
		return ifElse(outsideOption.MatchString(d.Create), "it has a DATA DIRECTORY of its own")
	}},
	{"partitions", func(w *World, d *Detail, _ Request) string {
		if len(d.Table.Partitions) > 0 && !innodb(d) {
			return "it is partitioned, and of the engine " + d.Table.Engine
		}
		for _, p := range d.Table.Partitions {
			if isMariaDB(w.Point) && !plainName.MatchString(p) {
				return fmt.Sprintf("the name of its partition %s is spelled otherwise in file names", p)
			}
		}
		return ""
	}},
	{"broken", func(_ *World, d *Detail, _ Request) string {
		return ifElse(d.Table.Problem != "", "the point's server cannot open it: %s", d.Table.Problem)
	}},
}

// portableEngine are those whose files another server of the same series can take over.
var portableEngine = map[string]bool{"innodb": true, "myisam": true, "aria": true, "csv": true, "archive": true}

var (
	outsideOption = regexp.MustCompile(`(?m)^[ )].*\bDATA DIRECTORY ?= ?'`)
	plainName     = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
)

// against is the first rule that speaks against taking over a table's files.
func against(w *World, d *Detail, r Request) string {
	for _, one := range rules {
		if why := one.says(w, d, r); why != "" {
			return why
		}
	}
	return ""
}

func ifElse(condition bool, format string, args ...any) string {
	if !condition {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

func isMariaDB(s *schema.Server) bool { return s.Product == database.MariaDB }

func innodb(d *Detail) bool { return strings.EqualFold(d.Table.Engine, "InnoDB") }

// series is "10.11" of "10.11.6-MariaDB-1".
func series(version string) string {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return version
	}
	return parts[0] + "." + parts[1]
}
