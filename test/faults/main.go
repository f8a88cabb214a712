// Command faults is the fault campaign: it breaks backups of real servers, on real file systems, with replication and writers going
// on, in every way that it knows and at every boundary of the program, and looks at the world from outside afterwards.
//
//	make faults N=1500 SEED=7          that many faults, drawn from the seed; without SEED it draws and prints one
//	make faults ONLY=mariadb-10.11/replica/image/locked/freeze.acted/kill-guard
//
// The last line is the verdict:
//
//	faults: N injected, N left behind, N commits lost or invented, N wrong claims, longest freeze N ms
//
// It ends with 0 only if all that must be zero is zero, and every bound held.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	var o options
	flag.IntVar(&o.n, "n", 1500, "how many faults")
	flag.Uint64Var(&o.seed, "seed", 0, "what they are drawn from; 0 draws one")
	flag.StringVar(&o.only, "only", "", "one fault: PRODUCT/ROLE/STORAGE/MODE/BOUNDARY/ACTOR; or a shorter prefix, for all draws that begin with it")
	flag.IntVar(&o.restoreEvery, "restore-every", 1, "restore every nth point and compare it commit by commit")
	flag.StringVar(&o.dir, "dir", "/var/tmp/holdstill-faults", "where everything lies; must be absent or empty")
	flag.BoolVar(&o.verbose, "v", false, "print every fault, not only those that found something")
	flag.Parse()
	if o.seed == 0 {
		o.seed = rand.Uint64N(1_000_000) + 1
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	ok, err := command(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults: "+err.Error())
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func command(ctx context.Context, o options) (bool, error) {
	bin, err := os.MkdirTemp("", "holdstill-faults-bin-")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(bin)
	o.binary = filepath.Join(bin, "holdstill")
	if err := build(ctx, o.binary, ""); err != nil {
		return false, err
	}
	t, err := campaign(ctx, o, os.Stdout)
	if t != nil { // after an interrupt, too
		t.print(os.Stdout)
	}
	return err == nil && t.green(), err
}

// build builds the program with fault injection; overlay, if not empty, is a file for go build -overlay.
func build(ctx context.Context, out, overlay string) error {
	args := []string{"build", "-tags", "fault", "-o", out}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "github.com/holdstill/holdstill/cmd/holdstill")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build holdstill: %w\n%s", err, text)
	}
	return nil
}
