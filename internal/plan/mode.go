package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/database"
)

func (p *Plan) chooseMode(in Input) {
	f := in.Facts
	p.because("role", roleName(f), "%s", roleEvidence(f))
	p.Mode = in.Policy.Mode
	if p.Mode != database.Auto {
		p.because("mode", string(p.Mode), "it was asked for")
	} else if f.Role == database.Replica {
		p.Mode = database.Locked
		p.because("mode", string(p.Mode), "the server is a replica: with its applier stopped, its source's position is exact, and nobody commits but replication")
	} else {
		p.Mode = database.Hot
		p.because("mode", string(p.Mode), "the server is a %s: commits stall only around the cut", f.Role)
	}
	switch {
	case p.Mode == database.Locked && f.Role != database.Replica:
		p.problem("use --mode hot, or cold", "mode locked stops the applier of a replica, but this server has no source")
	case p.Mode == database.Hot && slices.ContainsFunc(f.Channels, func(c database.Channel) bool { return f.ApplierWorkers > 0 && !c.AutoPosition }):
		p.problem("use --mode locked, or let the replica follow by GTID",
			"mode hot cannot tell where a parallel applier (%d workers) that does not follow by GTID stands: its file and offset lag while it runs", f.ApplierWorkers)
	case p.Mode == database.Hot && f.Role == database.Replica:
		p.warn("mode hot leaves the applier running: its position is read in the hold, but a statement-based applier may have temporary tables open; locked waits for them")
	}
}

func roleName(f *database.Facts) string {
	if f.Chain {
		return "replica, and source of others"
	}
	return string(f.Role)
}

func roleEvidence(f *database.Facts) string {
	var out []string
	for _, c := range f.Channels {
		name := ""
		if c.Name != "" {
			name = fmt.Sprintf(" (channel %s)", c.Name)
		}
		out = append(out, fmt.Sprintf("it replicates from %s:%d%s, receiver %s, applier %s", c.Host, c.Port, name, onOff(c.Receiver), onOff(c.Applier)))
	}
	if n := len(f.Replicas); n > 0 {
		out = append(out, fmt.Sprintf("%d connected: %s", n, strings.Join(f.Replicas, ", ")))
	}
	if len(out) == 0 {
		return "it has no source, and no replica is connected"
	}
	return strings.Join(out, "; ")
}

func onOff(running bool) string {
	if running {
		return "running"
	}
	return "stopped"
}

func (p *Plan) checkService(in Input) {
	if p.Mode != database.Cold {
		return
	}
	if in.Service == nil {
		p.problem("set service for this instance in the configuration, or use another mode", "mode cold has to stop the service, but %s", in.NoService)
		return
	}
	p.Service = in.Service
	p.because("service", in.Service.Title(), "mode cold stops it with `%s` and starts it with `%s`", in.Service.StopCommand(), in.Service.StartCommand())
	if in.Facts.Process.PID == 0 {
		p.problem("run holdstill where the server runs", "the server's process cannot be seen, so nobody could tell when it has stopped")
	}
	for _, c := range in.Facts.Channels {
		if (!c.Receiver || !c.Applier) && !in.Facts.SkipStart {
			p.problem("add skip-slave-start (MySQL: skip-replica-start) to the option file, or use --mode locked",
				"replication from %s:%d is not fully running, and a start of the service would start it", c.Host, c.Port)
		}
	}
	p.warn("mode cold restarts the server: values set with SET GLOBAL and not in an option file go back to their defaults")
}
