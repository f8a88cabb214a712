package main

import (
	"slices"
	"strings"
	"syscall"
	"time"
)

// actor is one way to break a backup. Those with a kind are the program's own faults; the others wait until the program pauses at
// the boundary, and act on the world then.
type actor struct {
	name string
	kind string // of HOLDSTILL_FAULT; "" is pause
	// at says at which boundaries it makes sense; nil is everywhere.
	at func(i injection) bool
	// act does it; heal makes the world whole again, as its operator would, after the run and before recover.
	act, heal func(*scene) error
	// grave: the run may be unable to take back what it did, until the world is healed.
	grave bool
	// stalls: commits or writes wait for the actor itself, so they say nothing about our bounds.
	stalls bool
	// rekeys: the accounts in the point are not those of the configuration, so that nobody could look at a restored server.
	rekeys bool
	// breaks: a hold or a freeze cannot have lasted, so that a point that was held must not claim to be application-consistent.
	breaks bool
	price  int // how much it takes, 1 if 0: a campaign draws what takes long less often
}

func (a actor) fits(i injection) bool { return a.at == nil || a.at(i) }

func (a actor) cost() int {
	return max(1, a.price)
}

func actorNamed(name string) actor {
	return actors[slices.IndexFunc(actors, func(a actor) bool { return a.name == name })]
}

// actors is everything that can happen. The clock is stepped in the virtual machine only (make test-vm): this machine is not ours.
var actors = []actor{
	// the program itself
	{name: "error", kind: "error", grave: true},
	{name: "enospc", kind: "enospc", at: writes, grave: true},
	{name: "erofs", kind: "erofs", at: writes, grave: true},
	{name: "kill", kind: "kill"},
	{name: "hang", act: (*scene).hang, at: except("freeze.undo", "service"), price: 3, breaks: true},
	{name: "late", kind: "sleep", at: inWindow, price: 3, breaks: true},
	{name: "slow", act: (*scene).dawdle},
	{name: "term", act: send(syscall.SIGTERM)},
	{name: "int", act: send(syscall.SIGINT)},
	{name: "hup", act: send(syscall.SIGHUP)},
	{name: "stop", act: (*scene).stop, price: 3, breaks: true},
	{name: "kill-guard", act: (*scene).killGuard, at: guarded},
	{name: "kill-both", act: (*scene).killBoth, at: guarded},
	{name: "kill-and-recover", act: (*scene).killAndRecover},
	{name: "torn-ledger", act: (*scene).tearLedger, at: acts},
	{name: "second-backup", act: (*scene).secondBackup, at: after("ledger.begun")},

	// the server
	{name: "kill-connection", act: (*scene).killConnections, at: serves, grave: true, breaks: true},
	{name: "server-killed", act: (*scene).killServer, heal: (*scene).startServer, at: serves, grave: true, stalls: true, breaks: true, price: 3},
	{name: "server-shut-down", act: (*scene).shutDownServer, heal: (*scene).startShutDown, at: serves, grave: true, stalls: true, breaks: true, price: 3},
	{name: "server-restarted", act: (*scene).restartServer, heal: (*scene).startServer, at: serves, grave: true, stalls: true, breaks: true, price: 3},
	{name: "connections-full", act: (*scene).fillConnections, heal: (*scene).freeConnections, at: serves, grave: true},
	{name: "password-changed", act: (*scene).changePassword, heal: (*scene).changePasswordBack, at: unheld, grave: true, rekeys: true},
	{name: "server-disk-full", act: (*scene).fillVolume, heal: (*scene).awaitSpace, at: unfrozen, grave: true, stalls: true, price: 10}, // a server looks for space once a minute
	{name: "long-select", act: (*scene).longSelect, heal: (*scene).endBusy, at: before("hold.act"), price: 3},
	{name: "long-alter", act: (*scene).longAlter, heal: (*scene).endBusy, at: before("hold.act"), price: 3},
	{name: "big-transaction", act: (*scene).bigTransaction, heal: (*scene).endBusy, at: before("hold.act"), price: 3},
	{name: "idle-transaction", act: (*scene).idleTransaction, heal: (*scene).endBusy, at: before("hold.act"), price: 3},

	// the world
	{name: "state-full", act: (*scene).fillState, heal: (*scene).freeState, grave: true},
	{name: "state-read-only", act: (*scene).breakState, heal: (*scene).mendState, at: after("facts.read"), grave: true},
	{name: "frozen-by-others", act: (*scene).freezeVolume, heal: (*scene).thawVolume, at: beforeCut, grave: true, stalls: true, price: 3},
	{name: "mount-gone", act: (*scene).unmount, heal: (*scene).mountAgain, at: unfrozen, grave: true, stalls: true, price: 3},
	{name: "reboot", act: (*scene).powerOff, heal: (*scene).powerOn, grave: true, stalls: true, price: 3},
}

// The order in which a backup passes its stages, whatever the mode; those that a mode lacks are never drawn.
var order = []string{"facts.read", "ledger.begun", "replication.promise", "replication.act", "replication.acted",
	"readonly.promise", "readonly.act", "readonly.acted", "service.promise", "service.act", "service.acted",
	"hold.promise", "freeze.promise", "cut.promise", "hold.act", "hold.acted", "freeze.act", "freeze.acted", "cut.act", "cut.acted",
	"freeze.undo", "freeze.undone", "hold.undo", "hold.undone", "service.undo", "service.undone", "readonly.undo", "readonly.undone",
	"replication.undo", "replication.undone", "cut.finished", "record.write", "record.written", "keep.written"}

// between says that the boundary lies there, both ends included. Boundaries that are passed many times lie nowhere.
func between(boundary, first, last string) bool {
	at := slices.Index(order, boundary)
	return at >= 0 && at >= slices.Index(order, first) && at <= slices.Index(order, last)
}

func before(last string) func(injection) bool {
	return func(i injection) bool { return i.mode != "cold" && between(i.boundary, "facts.read", last) }
}

func after(first string) func(injection) bool {
	return func(i injection) bool { return between(i.boundary, first, "keep.written") }
}

func except(prefixes ...string) func(injection) bool {
	return func(i injection) bool {
		return !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(i.boundary, p) })
	}
}

func writes(i injection) bool { return i.base() == "ledger.append" || i.base() == "record.write" }

func acts(i injection) bool { return strings.HasSuffix(i.boundary, ".act") }

func inWindow(i injection) bool {
	return i.mode != "cold" && between(i.boundary, "hold.acted", "cut.acted")
}

// guarded is where a guard lives.
func guarded(i injection) bool {
	return i.storage == "image" && between(i.boundary, "hold.promise", "hold.undo")
}

// serves is where the server runs.
func serves(i injection) bool {
	return i.base() != "ledger.append" && (i.mode != "cold" || !between(i.boundary, "service.acted", "service.undo"))
}

// unheld is where an account can be changed: no hold stops it, and no super_read_only.
func unheld(i injection) bool {
	if i.mode == "cold" {
		return serves(i) && !between(i.boundary, "readonly.acted", "readonly.undo")
	}
	return between(i.boundary, "facts.read", "cut.promise") || between(i.boundary, "hold.undone", "keep.written")
}

// unfrozen is where the campaign can touch the volume.
func unfrozen(i injection) bool {
	return between(i.boundary, "facts.read", "freeze.act") || between(i.boundary, "freeze.undone", "keep.written")
}

func beforeCut(i injection) bool {
	if i.storage == "image" {
		return between(i.boundary, "hold.promise", "freeze.act")
	}
	return i.boundary == "cut.act"
}

// deadline is how long a freeze may last.
func (i injection) deadline() time.Duration {
	if i.mode == "cold" {
		return 30 * time.Second
	}
	return maxStall
}
