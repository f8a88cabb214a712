package cli

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/holdstill/holdstill/internal/pitr"
	"github.com/holdstill/holdstill/internal/restore"
	"github.com/holdstill/holdstill/internal/wire"
)

// checkContinue refuses what does not belong to --continue, before anything is touched.
func checkContinue(cmd *cobra.Command, args []string, until *untilFlags) error {
	if len(args) > 0 {
		return usagef("--continue goes on from where the copy stands: leave out the point %s", args[0])
	}
	if err := onlyFlags(cmd, ofContinue, "--%s says nothing about a copy that is there, with which --continue goes on"); err != nil {
		return err
	}
	if !until.wanted() {
		return usagef("--continue needs a moment: --until-time, --until-gtid or --until-position")
	}
	return until.check()
}

// runContinue takes a copy further that a restore has made before.
func (a *app) runContinue(ctx context.Context, f *copyFlags, until *untilFlags, dir string) error {
	datadir, configDir, err := copyAt(dir, f.request.ConfigDir)
	if err != nil {
		return err
	}
	run, done, err := a.beginAs(ctx, copyOwner(datadir))
	if err != nil {
		return err
	}
	defer done()
	state, err := pitr.ReadState(configDir)
	if err != nil {
		return withHint{usageError{err}, "give the data directory of a copy that holdstill restore has made (and its --config-dir)"}
	}
	if state.Datadir != datadir {
		return usagef("%s is the configuration of the copy %s, not of %s", configDir, state.Datadir, datadir)
	}
	c := &continuing{app: a, flags: f, until: until, state: state, configDir: configDir}
	c.deps = restore.Deps{Connect: wire.Pool, Progress: a.progress(), Log: a.log}
	if state.Going != nil {
		if err := c.settle(ctx, run); err != nil {
			return gone(errors.Join(err, run.Unwind(ctx)))
		}
	}
	return c.on(ctx, run)
}

// copyAt are the directories of a copy.
func copyAt(dir, configDir string) (string, string, error) {
	datadir, err := filepath.Abs(dir)
	if err == nil && configDir == "" {
		configDir = datadir + ".conf"
	}
	if err == nil {
		configDir, err = filepath.Abs(configDir)
	}
	return datadir, configDir, err
}

// copyOwner is the name under which runs on a copy keep each other away.
func copyOwner(datadir string) string {
	sum := sha256.Sum256([]byte(datadir))
	return fmt.Sprintf("%s%x", copyPrefix, sum[:8])
}

// continueCommand is how a person goes on with a copy; more is what to do there.
func continueCommand(datadir, configDir string, f *untilFlags, more ...string) string {
	words := []string{"holdstill", "restore", "--continue", datadir}
	if configDir != datadir+".conf" {
		words = append(words, "--config-dir", configDir)
	}
	words = append(append(words, f.words()...), more...)
	for i, w := range words {
		if strings.ContainsAny(w, " '\"$&|;<>()`\\*?[]#~!") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

// halted completes the error of a replay that stopped and whose copy is kept.
func halted(err error, datadir, configDir string, f *untilFlags) error {
	var met *pitr.StoppedError
	if !errors.As(err, &met) || met.Kept == "" {
		return err
	}
	if configDir == "" {
		configDir = datadir + ".conf"
	}
	hint := "mend what is in its way in the copy (with SET sql_log_bin = 0), stop the copy's server, and go on: " + continueCommand(datadir, configDir, f)
	if met.GTID != "" {
		hint = "leave it out and go on: " + continueCommand(datadir, configDir, f, "--skip-gtid", met.GTID) + "; or " + hint
	}
	return withHint{err, hint}
}

// gone gives a copy that cannot be taken further the exit code of a refusal: nothing was touched.
func gone(err error) error {
	var lost *pitr.LostError
	if errors.As(err, &lost) {
		return usageError{err}
	}
	return err
}
