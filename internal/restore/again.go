package restore

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/holdstill/holdstill/internal/undo"
)

// Again plans to boot a copy that a restore has made before, and go on with it (Onward). Of the request count Point, Datadir, ConfigDir, Start,
// Port, BindAddress, Server, Account and Timeout; the port is the copy's. It changes nothing.
func Again(ctx context.Context, r Request) (*Plan, error) {
	r = r.defaults()
	w := &World{Root: os.Geteuid() == 0, UID: os.Geteuid()}
	if info, err := os.Stat(r.Datadir); err != nil {
		return nil, fmt.Errorf("cannot go on with a copy: %w", err)
	} else if st, ok := info.Sys().(*syscall.Stat_t); ok {
		w.Source.UID, w.Source.GID = int(st.Uid), int(st.Gid)
	}
	if u, err := user.LookupId(strconv.Itoa(w.Source.UID)); err == nil {
		w.Account = u.Username
	}
	w.Target = free(ctx, r.Datadir, w.Source)
	w.Config = lookAt(r.ConfigDir, w.Source)
	w.Server = lookAtServer(ctx, r)
	w.Port = freePort(ctx, r)
	p := &Plan{Request: r, world: w, Server: w.Server, Port: w.Port, Socket: socketFor(r), ErrorLog: filepath.Join(r.Datadir, "error.log")}
	problems := append(inUse(r, w), programs(r, w)...)
	if !w.Config.ConfigFile {
		problems = append(problems, Problem{Text: fmt.Sprintf("there is no option file %s", p.OptionFilePath()), Help: "say where it is with --config-dir"})
	}
	if len(problems) > 0 {
		return nil, &Refusal{What: "go on with the copy " + r.Datadir, Problems: problems}
	}
	return p, nil
}

// free looks at a data directory. A server that was killed just now is in no list any more, and has its lock for a moment still.
func free(ctx context.Context, path string, s Source) Target {
	for tries := 0; ; tries++ {
		t := lookAt(path, s)
		if !t.Locked || t.Server != "" || tries == 50 || ctx.Err() != nil {
			return t
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// DoAgain carries out the plan of Again. The copy stays, whatever happens: after an error the caller unwinds the run, which stops the server.
func DoAgain(ctx context.Context, run *undo.Run, plan *Plan, deps Deps) (*Result, error) {
	j := Begin(run, plan, deps)
	return j.finish(ctx, j.bootAgain(ctx, j.onward()))
}

// bootAgain boots the copy as FirstBoot does, but for what that checks of a new one.
func (j *Job) bootAgain(ctx context.Context, while func(context.Context, *sql.DB) error) error {
	j.deps.Stage("scratch", "booting the copy without network and replication")
	args := serverArgs{Datadir: j.Plan.Request.Datadir, OptionFile: j.Plan.OptionFilePath(), Run: j.Run.ID}
	deed := deedOf(kindAgain, "scratch", "start a server on "+args.Datadir, "kill $(pgrep -f -- "+shellQuoted("--defaults-file="+args.OptionFile)+")", args)
	deed.Limit = shutdownLimit
	db, process, err := j.bootFor(ctx, deed, j.firstArgs())
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return j.whileUp(ctx, db, process, while)
}
