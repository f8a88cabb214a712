// Package plan decides how a restore point is taken, and says why. It is pure: facts and policy in, a plan out; the same
// plan is printed by doctor and by a dry run, and carried out by a backup.
package plan

import (
	"fmt"
	"time"

	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/mount"
	"github.com/holdstill/holdstill/internal/service"
	"github.com/holdstill/holdstill/internal/snapshot"
)

// Policy is what people want.
type Policy struct {
	Mode     database.Mode       `json:"mode"`
	Require  catalog.Consistency `json:"require"`
	MaxStall time.Duration       `json:"-"`
	Patience time.Duration       `json:"-"`
	// HostTakes is how long a host may take for its snapshot, on top of MaxStall; 0 where we cut ourselves.
	HostTakes time.Duration `json:"-"`
}

// Budget bounds the hold.
func (p Policy) Budget() database.Budget {
	b := database.Within(p.MaxStall)
	b.Total += p.HostTakes
	return b
}

// Offer is one of the server's paths, where it lies, and who can cut it.
type Offer struct {
	Purpose database.Purpose
	Place   mount.Place
	Unit    *snapshot.Unit // nil: nobody can
	WhyNot  []string       // of each provider, when nobody can
}

// Input is everything that a plan depends on.
type Input struct {
	Facts     *database.Facts
	Offers    []Offer
	Policy    Policy
	Service   *service.Service // nil: none is known
	NoService string           // the reason
	RunDir    mount.Place      // where evidence is written while file systems are frozen
	Earlier   []catalog.Window // of this instance's points in the same mode, newest first
}

// Reason is one decision.
type Reason struct {
	Topic    string `json:"topic"`
	Decision string `json:"decision"`
	Because  string `json:"because"`
}

// Problem is something that keeps a backup from reaching what is required, and what to do.
type Problem struct {
	What   string `json:"what"`
	Remedy string `json:"remedy"`
}

// Plan is what a backup would do.
type Plan struct {
	Mode              database.Mode       `json:"mode"`
	Consistency       catalog.Consistency `json:"consistency"`
	ConsistencyReason string              `json:"consistency_reason"`
	Units             []snapshot.Unit     `json:"units"`
	Paths             []catalog.Located   `json:"paths"`
	Freeze            []string            `json:"freeze"`
	Service           *service.Service    `json:"service,omitempty"`
	Policy            Policy              `json:"policy"`
	PredictedStall    string              `json:"predicted_stall"`
	Reasons           []Reason            `json:"reasons"`
	Problems          []Problem           `json:"problems"`
	Lessened          []Problem           `json:"lessened,omitempty"` // keeps the point from being application-consistent, not from being taken
	Warnings          []string            `json:"warnings"`
}

// OK reports whether a backup would reach application consistency.
func (p *Plan) OK() bool { return len(p.Problems) == 0 && p.Consistency == catalog.Application }

// Make decides.
func Make(in Input) *Plan {
	p := &Plan{Policy: in.Policy, Reasons: []Reason{}, Problems: []Problem{}, Warnings: []string{}}
	if in.Facts.Scripts != nil {
		return p.ofScripts(in)
	}
	p.chooseMode(in)
	p.chooseUnits(in)
	p.checkAtomic()
	p.checkFreeze(in)
	p.checkService(in)
	p.checkRights(in.Facts)
	p.warnOf(in)
	p.judge(in.Facts)
	p.predict(in)
	return p
}

func (p *Plan) because(topic, decision, format string, args ...any) {
	p.Reasons = append(p.Reasons, Reason{Topic: topic, Decision: decision, Because: fmt.Sprintf(format, args...)})
}

func (p *Plan) problem(remedy, format string, args ...any) {
	p.Problems = append(p.Problems, Problem{What: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (p *Plan) warn(format string, args ...any) {
	p.Warnings = append(p.Warnings, fmt.Sprintf(format, args...))
}
