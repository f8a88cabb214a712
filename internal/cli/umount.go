package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/browse"
	"github.com/holdstill/holdstill/internal/catalog"
	"github.com/holdstill/holdstill/internal/lock"
)

// endOfServer is how long umount waits for the process that served to end.
const endOfServer = 10 * time.Second

func (a *app) umount() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "umount DIR",
		Short: "Take away what mount showed",
		Long: `Umount takes away all that mount showed at DIR, the process that served it, and the directory, if mount made it. If somebody uses
anything of it, it says who, changes nothing, and exits with 5. With --force it is taken out of sight at once, and goes on for those who
have it open until they are done. What a killed process left is cleaned up in any case; holdstill recover does that for all mounts.`,
		Example: "  holdstill umount /mnt/point\n  holdstill umount --force /mnt/point",
		Args:    exactly(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.runUmount(cmd.Context(), args[0], force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "take it out of sight even if it is in use")
	return cmd
}

func (a *app) runUmount(ctx context.Context, at string, force bool) error {
	dir, err := browse.Resolve(at)
	if err != nil {
		return err
	}
	note, err := browse.NoteOf(a.mounts(), dir)
	if err != nil {
		a.log.Warn(err.Error())
	}
	m, err := browse.At(dir)
	if err != nil {
		return err
	}
	if m == nil {
		return a.unmountNothing(dir, note)
	}
	if force {
		err = browse.Detach(m)
	} else {
		err = browse.Umount(m, piecesOf(note))
	}
	if errors.Is(err, browse.ErrBusy) {
		return relayed{err.Error(), "let them end, or take it out of sight: holdstill umount --force " + shellQuoted(dir), lock.ErrBusy}
	}
	if err != nil {
		return err
	}
	if note == nil {
		return a.say(map[string]any{"unmounted": dir, "serving": false}, "unmounted %s", dir)
	}
	return a.endMount(ctx, note)
}

func piecesOf(note *browse.Note) []string {
	if note == nil {
		return nil
	}
	return note.Pieces
}

// endMount waits for the process that served, which cleans up after itself, and cleans up if it died.
func (a *app) endMount(ctx context.Context, note *browse.Note) error {
	for end := time.Now().Add(endOfServer); note.Alive() && time.Now().Before(end) && ctx.Err() == nil; {
		if len(browse.Users(note.Dir)) > 0 {
			break // it was taken from them by force: it may last
		}
		time.Sleep(20 * time.Millisecond)
	}
	serving := note.Alive()
	if serving {
		return a.say(map[string]any{"unmounted": note.Dir, "serving": true},
			"unmounted %s; process %d goes on for those who have it open, and then ends", note.Dir, note.PID)
	}
	if err := note.Forget(); err != nil {
		return err
	}
	return a.say(map[string]any{"unmounted": note.Dir, "serving": false}, "unmounted %s", note.Dir)
}

// unmountNothing cleans up after a mount that is gone already.
func (a *app) unmountNothing(dir string, note *browse.Note) error {
	switch {
	case note == nil:
		return withHint{fmt.Errorf("nothing that holdstill mounted is at %s: %w", dir, catalog.ErrNotFound), "see findmnt " + shellQuoted(dir)}
	case note.Alive():
		return mountFault(fmt.Errorf("process %d is about to mount at %s, or still serves those who have it open: %w", note.PID, dir, browse.ErrBusy))
	}
	if err := note.Forget(); err != nil {
		return err
	}
	return a.say(map[string]any{"unmounted": dir, "serving": false}, "%s was not mounted any more; what was noted of it is cleaned up", dir)
}

// mountedCut refuses what would pull the files away from those who look at them: a cut that is removed is empty where it is mounted.
func (a *app) mountedCut(p *catalog.Point) error {
	notes, err := browse.Notes(a.mounts())
	if err != nil {
		a.log.Warn(err.Error())
	}
	for _, n := range notes {
		if n.Point != p.ID || from(n.From) != fromLocal {
			continue
		}
		if m, err := browse.At(n.Dir); err == nil && m != nil {
			return relayed{fmt.Sprintf("point %s is mounted at %s", p.ID, n.Dir), "holdstill umount " + shellQuoted(n.Dir), lock.ErrBusy}
		}
	}
	return nil
}

// recoverMounts takes away what dead mounts left.
func (a *app) recoverMounts() ([]recovered, error) {
	swept, err := browse.Sweep(a.mounts(), a.log)
	var out []recovered
	for _, n := range swept {
		out = append(out, recovered{Instance: n.Instance, Run: n.Point, Stage: "mount", Title: "mount " + n.Point + " at " + n.Dir})
	}
	return out, err
}
