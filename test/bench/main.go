// Command bench measures what a backup costs the users of a server, Holdstill's and its peers', side by side: the same server, the
// same write load, the same prober. docs/benchmarks.md says what is measured and how. It is run by `make bench`, or as
//
//	go run ./test/bench [-runs 5] [-slow-runs 3] [-base 30s] [-restore-gb 3] [-only btrfs,image,restore,repository]
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/holdstill/holdstill/internal/lab"
)

// options of a run.
type options struct {
	runs      int
	slowRuns  int
	base      time.Duration
	dataMB    int
	restoreGB int
	replayed  int
	shipRuns  int
	shipMB    int
	queryMB   int
	tableMB   int
	dumpMB    int
	peers     string
	only      string
	dir       string
	binary    string
}

func main() {
	var o options
	flag.IntVar(&o.runs, "runs", 5, "runs of each fast contestant; medians are shown")
	flag.IntVar(&o.slowRuns, "slow-runs", 3, "runs of mariadb-backup, mariadb-dump and the restore")
	flag.DurationVar(&o.base, "base", 30*time.Second, "how long commits are measured without any backup")
	flag.IntVar(&o.dataMB, "data-mb", 256, "data of the servers that are backed up under load")
	flag.IntVar(&o.restoreGB, "restore-gb", 3, "data of the server that is restored")
	flag.IntVar(&o.replayed, "replayed", 20000, "transactions that are replayed")
	flag.IntVar(&o.shipRuns, "ship-runs", 1, "runs of each archiver of the repository; the median one is shown")
	flag.IntVar(&o.shipMB, "ship-mb", 3072, "data of the server that is shipped to a repository")
	flag.IntVar(&o.queryMB, "query-mb", 4096, "data of the large server whose point is asked a question")
	flag.IntVar(&o.tableMB, "table-mb", 1024, "the table that is restored into a running server")
	flag.IntVar(&o.dumpMB, "dump-mb", 1024, "data of the server whose tables are dumped and loaded")
	flag.StringVar(&o.peers, "peers", "/var/cache/holdstill/peers", "where scripts/fetch-peers.sh put the programs of others")
	flag.StringVar(&o.only, "only", "btrfs,image,restore", "which measures to take; repository, pitr, query, tables and dump are others")
	flag.StringVar(&o.dir, "dir", "/var/tmp/holdstill-bench", "where everything lies; must be absent or empty")
	flag.StringVar(&o.binary, "holdstill", "", "a built holdstill (default: build one)")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	build, err := lab.Find("mariadb-10.11")
	if err != nil {
		return err
	}
	l, err := lab.New(o.dir)
	if err != nil {
		return fmt.Errorf("%w (an earlier run that was killed? nothing of it runs: remove the directory)", err)
	}
	defer func() {
		if closeErr := l.Close(); err == nil {
			err = closeErr
		}
	}()
	g := &ground{options: o, lab: l, build: build}
	if err := g.prepare(ctx); err != nil {
		return err
	}
	r := &report{}
	r.machine(ctx)
	for _, c := range []struct {
		name string
		run  func(context.Context, *ground, *report) error
	}{{btrfs, onBtrfs}, {image, onImage}, {restoreName, restoring}, {repositoryName, shipping}, {pitrName, replaying}, {queryName, asking}, {tablesName, bringing}, {dumpName, dumping}} {
		if !slices.Contains(strings.Split(o.only, ","), c.name) {
			fmt.Printf("\n%s: left out (-only %s)\n", c.name, o.only)
			continue
		}
		if err := c.run(ctx, g, r); err != nil {
			return err
		}
	}
	r.goals()
	return r.writeJSON(os.Getenv("BENCH_JSON"))
}

// buildBinary builds the program that is measured from the source beside this one.
func buildBinary(ctx context.Context, dir string) (string, error) {
	binary := filepath.Join(dir, "holdstill")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/holdstill/holdstill/cmd/holdstill")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("cannot build holdstill: %w\n%s", err, out)
	}
	return binary, nil
}
