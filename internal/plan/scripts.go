package plan

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
)

// ofScripts decides for an application that scripts hold: there is one mode, and the scripts' configuration has its say in what is frozen.
func (p *Plan) ofScripts(in Input) *Plan {
	p.Mode = database.Hot
	var scripts []string
	for _, plugin := range in.Facts.Scripts.Plugins {
		scripts = append(scripts, plugin.Pre)
	}
	p.because("mode", string(p.Mode), "scripts hold the application: %s", strings.Join(scripts, ", "))
	if in.Policy.Mode != database.Auto && in.Policy.Mode != database.Hot {
		p.problem("use --mode hot, or auto", "mode %s is for servers: what this application does while it is held is up to its scripts", in.Policy.Mode)
	}
	p.chooseUnits(in)
	p.freezeAsWanted(in)
	for _, o := range in.Facts.Scripts.Refused {
		p.problem(o.Remedy, "%s", o.What)
	}
	for _, o := range in.Facts.Scripts.Lessened {
		p.Lessened = append(p.Lessened, Problem{What: o.What, Remedy: o.Remedy})
	}
	for _, note := range in.Facts.Scripts.Notes {
		p.warn("%s", note)
	}
	if len(p.Units) > 1 {
		p.because("volumes", fmt.Sprintf("%d cuts", len(p.Units)), "the application's files lie on %d volumes; it is held over all the cuts", len(p.Units))
	}
	p.judgeScripts()
	p.predict(in)
	if len(in.Earlier) == 0 && len(p.Units) > 0 {
		p.PredictedStall = "the time that the scripts take (no point yet)"
	}
	return p
}

// freezeAsWanted takes out what the scripts' configuration does not want to be frozen, and freezes the rest as usual.
func (p *Plan) freezeAsWanted(in Input) {
	s, left := in.Facts.Scripts, 0
	for i, u := range p.Units {
		switch {
		case u.Freeze == "":
			continue
		case !s.Freeze:
			p.because("freeze", "not "+u.Freeze, "fsFreezeEnabled is false")
		case slices.ContainsFunc(s.Unfrozen, func(m string) bool { return filepath.Clean(m) == u.Freeze }):
			p.because("freeze", "not "+u.Freeze, "MountsToSkip names it")
		default:
			continue
		}
		p.Units[i].Freeze = ""
		left++
	}
	p.checkFreeze(in)
	if left > 0 { // the reason is not that the storage needs none
		p.Reasons = slices.DeleteFunc(p.Reasons, func(r Reason) bool { return r.Topic == "freeze" && r.Decision == "nothing" })
	}
	if len(p.Freeze) > 0 && s.FreezeLimit > 0 && s.FreezeLimit < p.Policy.MaxStall {
		p.Policy.MaxStall = s.FreezeLimit
		p.because("freeze limit", s.FreezeLimit.String(), "the configuration of the backup says so (timeout)")
	}
}

// judgeScripts says what the point will be if the scripts succeed: continueBackupOnFailure lets one be taken that is worth less.
func (p *Plan) judgeScripts() {
	switch {
	case len(p.Problems) > 0:
		p.ConsistencyReason = "not application-consistent, because " + p.Problems[0].What
	case len(p.Lessened) == 0:
		p.Consistency = catalog.Application
		p.ConsistencyReason = "the pre scripts hold the application over the whole cut"
	case p.Frozen():
		p.Consistency = catalog.Filesystem
		p.ConsistencyReason = "the file systems are frozen, but the application is not held, because " + p.Lessened[0].What
	default:
		p.Consistency = catalog.Crash
		p.ConsistencyReason = "not everything is frozen, and the application is not held, because " + p.Lessened[0].What
	}
}
