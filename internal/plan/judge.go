package plan

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
)

func (p *Plan) checkRights(f *database.Facts) {
	for _, grant := range slices.Concat(f.Missing, f.MissingFor[p.Mode]) {
		p.problem("type in the server: "+grant, "the account lacks a privilege")
	}
}

func (p *Plan) warnOf(in Input) {
	f := in.Facts
	if !f.LogBin {
		p.warn("the server writes no binary log: the point has no position of its own, and nothing can be replayed after it")
	}
	if f.LogBin && (f.FlushLog != 1 || f.SyncBinlog != 1) {
		p.warn("innodb_flush_log_at_trx_commit=%d and sync_binlog=%d: the point is exact, as the hold waits until the logs are written, but a crash of this server can lose commits", f.FlushLog, f.SyncBinlog)
	}
	if f.Product == database.MariaDB && f.FlushLog == 0 && p.Mode != database.Cold {
		p.warn("innodb_flush_log_at_trx_commit=0: MariaDB writes its redo log once a second, and commits stall until it has")
	}
	if f.Has("MEMORY") {
		p.warn("MEMORY tables come back empty, as after any restart")
	}
	for _, e := range f.Engines {
		if !slices.Contains([]string{"innodb", "myisam", "aria", "memory", "csv", "mrg_myisam", "archive", "sequence"}, strings.ToLower(e.Name)) {
			p.warn("%d tables use the engine %s, which nobody has tried with Holdstill", e.Tables, e.Name)
		}
	}
	if n := len(f.Prepared); n > 0 {
		p.warn("%d prepared XA transactions will be in the point and hold their locks after a restore: %s", n, strings.Join(f.Prepared, ", "))
	}
	for _, s := range f.Running {
		p.warn("a statement of %s has been running for %s: %s", s.User, s.Running.Round(time.Second), s.Text)
	}
	for _, u := range f.Unreadable {
		p.warn("not known: %s", u)
	}
}

// judge says what the point will be, if every step succeeds.
func (p *Plan) judge(f *database.Facts) {
	if len(p.Problems) > 0 {
		p.ConsistencyReason = "not application-consistent, because " + p.Problems[0].What
		return
	}
	p.Consistency = catalog.Application
	how := map[database.Mode]string{
		database.Hot:    "commits are held over the whole cut",
		database.Locked: "the applier is stopped at a known position, and commits are held over the whole cut",
		database.Cold:   "the service is stopped over the whole cut",
	}[p.Mode]
	if f.LogBin {
		how += ", at an exact position of the binary log"
	}
	p.ConsistencyReason = how
}

// predict tells the stall to expect: what this instance's own points took if there are any, else what was measured elsewhere.
func (p *Plan) predict(in Input) {
	switch {
	case len(p.Units) == 0:
		p.PredictedStall = "unknown"
	case len(in.Earlier) > 0:
		var ms []float64
		for _, w := range in.Earlier[:min(5, len(in.Earlier))] {
			ms = append(ms, w.StallMS)
		}
		slices.Sort(ms)
		p.PredictedStall = fmt.Sprintf("about %.0f ms (median of what was measured in this mode: %d)", ms[len(ms)/2], len(ms))
	case p.Mode == database.Cold:
		p.PredictedStall = "the time that the service needs to stop and to start (no point in this mode yet)"
	case in.Policy.HostTakes > 0:
		p.PredictedStall = fmt.Sprintf("the time that the host takes, never more than %s (no point in this mode yet)", in.Policy.MaxStall+in.Policy.HostTakes)
	case len(p.Freeze) > 0:
		p.PredictedStall = fmt.Sprintf("60 to 150 ms on a small machine (no point in this mode yet); never more than %s", in.Policy.MaxStall)
	default:
		p.PredictedStall = fmt.Sprintf("10 to 50 ms on a small machine (no point in this mode yet); never more than %s", in.Policy.MaxStall)
	}
}
