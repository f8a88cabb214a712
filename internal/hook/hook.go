// Package hook is the seam to hosts: clouds and hypervisors that take the snapshot themselves, and call the guest before and
// after it. A personality knows one host's contract: how it calls, what it takes for an answer, how long it waits, and which
// files make it call at all. What is done then is the same for all. The makes live in the folders below it.
package hook

import (
	"io/fs"
	"time"
)

// Verb is what a host asks for.
type Verb string

// The verbs. Every host has its own words for them.
const (
	Pre   Verb = "pre"   // hold; the snapshot comes next
	Post  Verb = "post"  // the snapshot was taken: release, and record the point
	Abort Verb = "abort" // the host gave up: release, there is no snapshot
	Probe Verb = "probe" // would a pre work? Change nothing
)

// Call is a host's call, understood.
type Call struct {
	Verb Verb
	// Details are what the host says about its snapshot (an execution's id, its disks); they go into the point.
	Details map[string]string
}

// Outcome is how a call ended.
type Outcome string

// The outcomes of a pre.
const (
	Held     Outcome = "held"      // everything is held and recorded: take the snapshot
	NotReady Outcome = "not-ready" // a server cannot be held now (unreachable, busy, something is missing): nothing was changed
	TimedOut Outcome = "timed-out" // it could not be held inside the limit: nothing is held
	Failed   Outcome = "failed"    // anything else: all was taken back
	Already  Outcome = "already"   // a pre before this one is held still, and its post has not come
)

// The outcomes of a post or an abort.
const (
	Released Outcome = "released" // released after a hold that lasted; the points are recorded
	Lost     Outcome = "lost"     // released, but the hold did not last: the snapshot is not application-consistent
	Expired  Outcome = "expired"  // the deadline had passed, and the hold was released then: no point
	NoHold   Outcome = "no-hold"  // nobody called pre
	Refused  Outcome = "refused"  // pre had failed, and said so: nothing is held, and there is nothing to do
	Aborted  Outcome = "aborted"  // released, without a point
)

// Terms are a host's conditions.
type Terms struct {
	// Limit is how long a pre may take: less than the host waits for it.
	Limit time.Duration
	// Hold is how long the host may take from the end of pre to post. At its end everything is released.
	Hold time.Duration
	// Freeze tells that the host does not freeze the file systems itself, so that we have to.
	Freeze bool
	// Renew tells that a second pre takes the place of one whose post never came; else it is answered with Already.
	Renew bool
}

// Personality is one host's contract.
type Personality interface {
	// Name is the word after "holdstill hook".
	Name() string
	// Host is the host's own name, for people.
	Host() string
	// Forms are the argument forms, one a line, with what each is for.
	Forms() [][2]string
	// Parse understands a call; an error means that it is none of the contract's.
	Parse(args []string) (Call, error)
	Terms() Terms
	// ExitCode is what the host takes for the outcome of a verb.
	ExitCode(Verb, Outcome) int
	// Files are what has to lie on the machine so that the host calls us.
	Files(Site) ([]File, error)
}

// Site is the machine that the files are for.
type Site struct {
	Binary string // absolute path of holdstill
	Config string // absolute path of its configuration; "" for the default
	// Read returns what lies at a path now; fs.ErrNotExist if nothing does. Files that others own too are merged with it.
	Read func(path string) ([]byte, error)
	// Stat tells what lies there, links followed; fs.ErrNotExist if nothing does.
	Stat func(path string) (fs.FileInfo, error)
}

// File is one file of a host, owned by root.
type File struct {
	Path    string
	Content []byte
	Mode    fs.FileMode
	// DirMode is the mode of the directory that holds it, if the host demands one; it is made if it is absent.
	DirMode fs.FileMode
	Why     string // what it is for
	// Register is what a person has to do with it, where writing it is not enough (an SSM document), else "".
	Register string
}

// Wishes are what a host's own configuration says of the application. What the server is, is asked of the server; this is compared.
type Wishes struct {
	Path        string // of the configuration
	Product     string // mysql, mariadb; "" where it says nothing
	Role        string // source, replica; "" where it says nothing
	OnlyReplica bool   // no snapshot of anything but a replica
	Ignored     []string
}

// Wishful is a personality whose host has such a configuration.
type Wishful interface {
	// Wishes reads it; false if there is none.
	Wishes(read func(path string) ([]byte, error)) (Wishes, bool, error)
}
