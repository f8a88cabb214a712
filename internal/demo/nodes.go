package demo

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/holdstill/holdstill/internal/lab"
)

// The nodes, in the order in which they are told.
const (
	nodeA = "node-a"
	nodeB = "node-b"
	nodeC = "node-c"
)

var addresses = map[string]string{nodeA: "10.77.0.11", nodeB: "10.77.0.12", nodeC: "10.77.0.13"}

// node is one machine of the demo: a network namespace, a disk, and for a and b a server.
type node struct {
	name, address string
	disk          *lab.Volume
	diskText      string
	server        *lab.Server // nil on node-c: holdstill makes that one
}

func (n *node) datadir() string { return filepath.Join(n.disk.Dir, "data") }

// Small disks of a small demo, sparse.
const (
	diskBytes  = 1 << 30
	storeBytes = 2 << 30
)

// build makes the three nodes. The disks of a and b are of the two kinds that holdstill knows to cut.
func (d *demo) build(ctx context.Context) error {
	build, err := lab.Find("mariadb-10.11")
	if err != nil {
		return err
	}
	network, err := d.lab.NetworkExact(ctx, "holdstill-switch", addresses)
	if err != nil {
		return fmt.Errorf("%w (does another demo run on this machine?)", err)
	}
	if err := d.makeDisks(ctx); err != nil {
		return err
	}
	var both errgroup.Group // not with a context of its own: its name would be in every error
	for _, name := range []string{nodeA, nodeB} {
		n := d.nodes[name]
		// One after the other: two mariadb-install-db at once fail now and then.
		if n.server, err = d.lab.Server(ctx, build, lab.Spec{
			Name: name, Datadir: n.datadir(), Subvolume: n.disk.FS == "btrfs",
			Netns: network.Netns(name), Bind: n.address,
		}); err != nil {
			return errors.Join(err, both.Wait())
		}
		both.Go(func() error { return n.server.Start(ctx) })
	}
	if err := both.Wait(); err != nil {
		return err
	}
	return d.writeCommands(build)
}

func (d *demo) makeDisks(ctx context.Context) error {
	a, err := d.lab.Btrfs(ctx, "disk-a", diskBytes)
	if err != nil {
		return err
	}
	store, err := d.lab.FS(ctx, "store-b", "xfs", storeBytes)
	if err != nil {
		return err
	}
	b, err := d.lab.ImageOn(ctx, store, "disk-b", "xfs", diskBytes)
	if err != nil {
		return err
	}
	c, err := d.lab.FS(ctx, "disk-c", "xfs", diskBytes)
	if err != nil {
		return err
	}
	d.nodes[nodeA] = &node{name: nodeA, address: addresses[nodeA], disk: a, diskText: "btrfs, data in a subvolume"}
	d.nodes[nodeB] = &node{name: nodeB, address: addresses[nodeB], disk: b, diskText: "xfs on a disk image, as virtual machines have"}
	d.nodes[nodeC] = &node{name: nodeC, address: addresses[nodeC], disk: c, diskText: "xfs, empty"}
	return nil
}

//go:embed on.sh
var onScript string

// writeCommands writes the programs that people type on a node: `on` goes there, and there `holdstill` and `mariadb` know
// which configuration and which server are meant.
func (d *demo) writeCommands(build lab.Build) error {
	shebang := "#!/bin/sh\n"
	_, body, _ := strings.Cut(onScript, "\n")
	scripts := map[string]string{
		"on":            shebang + "dir=" + d.Dir + "\n" + body,
		"bin/holdstill": shebang + fmt.Sprintf("exec %s --config %s \"$@\"\n", quoted(d.Binary), d.configFile()),
		"bin/mariadb":   shebang + fmt.Sprintf("exec %s --defaults-file=%s/\"$HOLDSTILL_DEMO_NODE\"/my.cnf \"$@\"\n", build.Client, d.Dir),
	}
	if err := os.Mkdir(filepath.Join(d.Dir, "bin"), 0o755); err != nil {
		return err
	}
	for name, text := range scripts {
		if err := os.WriteFile(filepath.Join(d.Dir, name), []byte(text), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// quoted is for a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
