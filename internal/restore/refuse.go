package restore

import (
	"fmt"
	"path/filepath"
	"strconv"

	"github.com/holdstill/holdstill/internal/mount"
)

// paths are the problems with where things should go.
func paths(r Request, w *World) []Problem {
	var out []Problem
	add := func(help, format string, args ...any) {
		out = append(out, Problem{Text: fmt.Sprintf(format, args...), Help: help})
	}
	if !filepath.IsAbs(r.Datadir) || !filepath.IsAbs(r.ConfigDir) {
		add("give absolute paths", "the data directory %q and the configuration directory %q must be absolute paths", r.Datadir, r.ConfigDir)
		return out
	}
	for _, t := range []Target{w.Target, w.Config} {
		if t.Exists && !t.Dir {
			add("", "%s is no directory", t.Path)
		}
	}
	if overlaps(r.Datadir, r.ConfigDir) {
		add("", "the configuration directory %s and the data directory %s lie in each other", r.ConfigDir, r.Datadir)
	}
	if w.Config.ConfigFile {
		add("choose another --config-dir, or move the file away", "there is an option file in %s already, which is not ours to replace", r.ConfigDir)
	}
	if w.Target.Closed != "" {
		add("chmod o+x "+w.Target.Closed+", or choose another place", "the server's user %s cannot pass the directory %s", w.userName(), w.Target.Closed)
	}
	out = append(out, inUse(r, w)...)
	if r.InPlace {
		return append(out, inPlaceProblems(r, w)...)
	}
	if w.Target.Entry != "" {
		add("choose an empty or absent directory", "the directory %s is not empty: it holds %s", r.Datadir, w.Target.Entry)
	}
	return out
}

// inUse is a server that runs there.
func inUse(r Request, w *World) []Problem {
	const help = "stop that server, or choose another place"
	switch {
	case w.Target.Server != "":
		return []Problem{{Text: "a server is running there: " + w.Target.Server, Help: help}}
	case w.Target.Locked:
		return []Problem{{Text: "some process holds the lock on " + filepath.Join(r.Datadir, "ibdata1"), Help: help}}
	}
	return nil
}

func overlaps(a, b string) bool {
	_, x := mount.Below(a, b)
	_, y := mount.Below(b, a)
	return x || y
}

func (w *World) userName() string {
	if w.Account != "" {
		return w.Account
	}
	return strconv.Itoa(w.Source.UID)
}

func inPlaceProblems(r Request, w *World) []Problem {
	var out []Problem
	t := w.Target
	switch {
	case t.MountPoint:
		out = append(out, Problem{
			Text: fmt.Sprintf("%s is a mount point, which cannot be set aside by renaming", r.Datadir),
			Help: "restore to a new directory, and then change what is mounted there (or the option datadir)",
		})
	case !t.Exists:
		out = append(out, Problem{Text: fmt.Sprintf("%s does not exist: there is nothing to restore in place", r.Datadir), Help: "restore without --in-place"})
	}
	for _, o := range w.Outside {
		if len(o.Files) > 0 {
			out = append(out, Problem{
				Text: fmt.Sprintf("the server's %s lie outside its data directory, in %s, where the old files cannot be set aside with it", o.Purpose, o.Real),
				Help: "restore to a new directory, which brings them inside, and point the service there",
			})
		}
	}
	if len(w.Source.Links) > 0 {
		out = append(out, Problem{Text: "the data directory holds symlinks to files outside it, which cannot be set aside with it", Help: "restore to a new directory"})
	}
	return out
}

// programs are the problems with the program and its user.
func programs(r Request, w *World) []Problem {
	var out []Problem
	add := func(help, format string, args ...any) {
		out = append(out, Problem{Text: fmt.Sprintf(format, args...), Help: help})
	}
	have, was := ParseVersion(w.Server.Version), ParseVersion(r.Point.Server.Version)
	const give = "give the executable of a fitting server with --server"
	switch {
	case w.Server.Err != "":
		add(give, "the server %s cannot be used: %s", w.Server.Path, w.Server.Err)
	case isMariaDB(w.Server.Product) != isMariaDB(r.Point.Server.Product):
		add(give, "%s is %s, but the point is of %s", w.Server.Path, w.Server.Product, r.Point.Server.Product)
	case have.Compare(was) < 0:
		add(give, "%s is version %s, older than the point's %s", w.Server.Path, w.Server.Version, r.Point.Server.Version)
	case have.Series() != was.Series() && !r.Upgrade:
		add(give+", or accept the upgrade with --upgrade", "%s is version %s, and would upgrade the copy from %s", w.Server.Path, w.Server.Version, r.Point.Server.Version)
	}
	switch {
	case !w.Root && w.UID != w.Source.UID:
		add("run as root, or as the user "+w.userName(), "the files belong to user %d, and only root can give files away", w.Source.UID)
	case w.Account == "":
		add(fmt.Sprintf("create the user: useradd --system --uid %d mysql", w.Source.UID), "the files belong to user %d, whom this machine does not know", w.Source.UID)
	}
	if r.Start && w.Port == 0 {
		add("choose another --port", "port %d is not free on %s", r.Port, r.BindAddress)
	}
	return out
}
