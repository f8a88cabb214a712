package family

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdstill/holdstill/internal/database"
	"github.com/holdstill/holdstill/internal/undo"
)

// readOnlyLimit is how long setting it back may wait for others, each time that it is tried.
const readOnlyLimit = 20 * time.Second

// ReadOnlyKind is the kind of a deed that made a server refuse writes.
const ReadOnlyKind = "database.readonly"

type readOnlyArgs struct {
	memory
	Endpoint database.Endpoint `json:"endpoint"`
	ReadOnly string            `json:"read_only"`                 // as found, as the server spells it
	Super    string            `json:"super_read_only,omitempty"` // "" where there is none
}

// SetReadOnly makes the server refuse writes and returns where its binary log then stands.
func (s *Server) SetReadOnly(facts *database.Facts) undo.Step[database.Position] {
	args := readOnlyArgs{memory: inMemory(), Endpoint: s.Endpoint, ReadOnly: facts.ReadOnly, Super: facts.SuperReadOnly}
	manual := client(s.Endpoint) + " -e " + shellQuote(strings.Join(readOnlyBack(args), "; "))
	return undo.Step[database.Position]{
		Deed: undo.NewDeed(ReadOnlyKind, "readonly", "make "+address(s.Endpoint)+" refuse writes", manual, args),
		Act:  func(ctx context.Context) (database.Position, error) { return s.setReadOnly(ctx, args) },
		Undo: func(ctx context.Context) error { return s.restoreReadOnly(ctx, args) },
	}
}

// setReadOnly leaves a value alone that refuses writes already: newer servers have stronger ones than ON.
func (s *Server) setReadOnly(ctx context.Context, found readOnlyArgs) (database.Position, error) {
	ctx, cancel := bounded(ctx, stopLimit)
	defer cancel()
	return withPin(ctx, s, func(p *pin) (database.Position, error) {
		for _, statement := range s.readOnlyOn(found) {
			if err := s.interruptible(ctx, p, statement); err != nil {
				return database.Position{}, fmt.Errorf("cannot make the server read-only: %w", busy(err))
			}
		}
		return s.readPosition(ctx, p)
	})
}

func (s *Server) readOnlyOn(found readOnlyArgs) []string {
	switch {
	case s.say.SuperReadOnly && !IsOn(found.Super):
		return []string{"SET GLOBAL super_read_only = ON"} // turns read_only on as well
	case !s.say.SuperReadOnly && isOff(found.ReadOnly):
		return []string{"SET GLOBAL read_only = ON"}
	}
	return nil
}

func isOff(value string) bool { return value == "" || value == "0" || strings.EqualFold(value, "OFF") }

// readOnlyBack is the order that works: the server turns read_only on with super_read_only, and refuses to turn it off before.
func readOnlyBack(found readOnlyArgs) []string {
	var out []string
	if found.Super != "" {
		out = append(out, "SET GLOBAL super_read_only = "+word(found.Super))
	}
	out = append(out, "SET GLOBAL read_only = "+word(found.ReadOnly))
	if IsOn(found.Super) {
		slices.Reverse(out)
	}
	return out
}

// word is a value like ON, OFF or NO_LOCK, quoted as a string unless it is a number.
func word(value string) string {
	if value == "0" || value == "1" {
		return value
	}
	return Quote(value)
}

// restoreReadOnly changes nothing where the found values stand already: the deed may never have happened.
func (s *Server) restoreReadOnly(ctx context.Context, found readOnlyArgs) error {
	ctx, cancel := context.WithTimeout(ctx, putBackLimit)
	defer cancel()
	return again(ctx, func() error {
		_, err := withPin(ctx, s, func(p *pin) (struct{}, error) { return struct{}{}, s.sayReadOnlyBack(ctx, p, found) })
		return err
	})
}

func (s *Server) sayReadOnlyBack(ctx context.Context, p *pin, found readOnlyArgs) error {
	rows, err := query(ctx, p, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('read_only', 'super_read_only')")
	if err != nil {
		return err
	}
	if now := pairs(rows); now["read_only"] == found.ReadOnly && now["super_read_only"] == found.Super {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, readOnlyLimit)
	defer cancel()
	for _, statement := range readOnlyBack(found) {
		if err := s.interruptible(ctx, p, statement); err != nil {
			return err
		}
	}
	return nil
}
